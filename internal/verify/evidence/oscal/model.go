package oscal

// The part of NIST's assessment-results model that is written, in the order in which people read it. Of times and UUIDs there is only
// the text: the model takes no zero value of either.

type document struct {
	AssessmentResults assessmentResults `json:"assessment-results"`
}

type assessmentResults struct {
	UUID       string     `json:"uuid"`
	Metadata   metadata   `json:"metadata"`
	ImportAP   link       `json:"import-ap"`
	Results    []result   `json:"results"`
	BackMatter backMatter `json:"back-matter"`
}

type metadata struct {
	Title        string     `json:"title"`
	LastModified string     `json:"last-modified"`
	Version      string     `json:"version"`
	OSCALVersion string     `json:"oscal-version"`
	Props        []property `json:"props,omitempty"`
	Remarks      string     `json:"remarks,omitempty"`
}

type property struct {
	Name    string `json:"name"`
	NS      string `json:"ns"`
	Value   string `json:"value"`
	Remarks string `json:"remarks,omitempty"`
}

type link struct {
	HRef string `json:"href"`
}

type result struct {
	UUID             string           `json:"uuid"`
	Title            string           `json:"title"`
	Description      string           `json:"description"`
	Start            string           `json:"start"`
	End              string           `json:"end"`
	Props            []property       `json:"props,omitempty"`
	LocalDefinitions localDefinitions `json:"local-definitions"`
	ReviewedControls reviewedControls `json:"reviewed-controls"`
	Observations     []observation    `json:"observations,omitempty"`
	Remarks          string           `json:"remarks,omitempty"`
}

type localDefinitions struct {
	Components       []component      `json:"components"`
	AssessmentAssets assessmentAssets `json:"assessment-assets"`
}

type component struct {
	UUID        string     `json:"uuid"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Props       []property `json:"props,omitempty"`
	Status      status     `json:"status"`
}

type status struct {
	State   string `json:"state"`
	Remarks string `json:"remarks,omitempty"`
}

type assessmentAssets struct {
	Components []component `json:"components"`
	Platforms  []platform  `json:"assessment-platforms"`
}

type platform struct {
	UUID  string     `json:"uuid"`
	Title string     `json:"title"`
	Props []property `json:"props,omitempty"`
	Uses  []uses     `json:"uses-components"`
}

type uses struct {
	ComponentUUID string `json:"component-uuid"`
}

type reviewedControls struct {
	Description string      `json:"description"`
	Selections  []selection `json:"control-selections"`
}

type selection struct {
	Description string       `json:"description"`
	Include     []controlRef `json:"include-controls,omitempty"`
}

type controlRef struct {
	ControlID string `json:"control-id"`
}

type observation struct {
	UUID             string     `json:"uuid"`
	Title            string     `json:"title"`
	Description      string     `json:"description"`
	Props            []property `json:"props"`
	Methods          []string   `json:"methods"`
	Types            []string   `json:"types"`
	Origins          []origin   `json:"origins"`
	Subjects         []subject  `json:"subjects"`
	RelevantEvidence []relevant `json:"relevant-evidence,omitempty"`
	Collected        string     `json:"collected"`
	Remarks          string     `json:"remarks,omitempty"`
}

type origin struct {
	Actors []actor `json:"actors"`
}

type actor struct {
	Type string `json:"type"`
	UUID string `json:"actor-uuid"`
}

type subject struct {
	UUID string `json:"subject-uuid"`
	Type string `json:"type"`
}

type relevant struct {
	HRef        string `json:"href"`
	Description string `json:"description"`
}

type backMatter struct {
	Resources []resource `json:"resources"`
}

type resource struct {
	UUID        string  `json:"uuid"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	RLinks      []rlink `json:"rlinks,omitempty"`
	Remarks     string  `json:"remarks,omitempty"`
}

type rlink struct {
	HRef      string `json:"href"`
	MediaType string `json:"media-type"`
}
