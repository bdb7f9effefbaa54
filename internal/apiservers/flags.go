package apiservers

import (
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/svmctl/svmctl/internal/node"
)

// flagz is where an apiserver of 1.36 or later tells its flags, those that were not given included. The verb is get on the
// path; the cluster role system:monitoring has it.
const flagz = "/flagz"

// acceptFlagz names the versions of that answer, the newest first.
const acceptFlagz = "application/json;as=Flagz;g=config.k8s.io;v=v1beta1,application/json;as=Flagz;g=config.k8s.io;v=v1alpha1"

// EvidenceFlags are the flags that Flags.Raw may hold.
var EvidenceFlags = []string{
	"encryption-provider-config", "encryption-provider-config-automatic-reload", "etcd-prefix", "etcd-servers", "etcd-servers-overrides",
	"storage-media-type",
}

// userinfo is what may stand before the host of an etcd's URL. No flag of kube-apiserver is meant to have it there.
var userinfo = regexp.MustCompile(`://[^,;\s]*@`)

// Flags are those flags of an apiserver that say where it keeps what.
type Flags struct {
	Overrides []node.Override   // resources that lie in an etcd of their own
	Prefix    string            // storage root
	Raw       map[string]string // EvidenceFlags that it has, as it writes them, without users and passwords in URLs
}

// readFlags asks for the flags. A problem, in fixed words, says why they are not known.
func (s *Server) readFlags(ctx context.Context, c *client) {
	s.Flags, s.FlagsProblem = nil, ""
	var answer struct {
		Kind  string            `json:"kind"`
		Flags map[string]string `json:"flags"`
	}
	_, p := c.get(ctx, flagz, "", acceptFlagz, maxAnswer, func(r io.Reader) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if json.Unmarshal(text, &answer) != nil || answer.Kind != "Flagz" {
			return errStrange
		}
		return nil
	})
	if p != nil {
		s.FlagsProblem = p.text
		return
	}
	raw := make(map[string]string)
	for _, name := range EvidenceFlags {
		if text, told := answer.Flags[name]; told {
			raw[name] = userinfo.ReplaceAllString(text, "://")
		}
	}
	overrides, told := raw["etcd-servers-overrides"]
	prefix, prefixTold := raw["etcd-prefix"]
	if !told || !prefixTold {
		s.FlagsProblem = errStrange.Error()
		return
	}
	// A list of strings is written in brackets, and in between as CSV.
	list := strings.TrimSuffix(strings.TrimPrefix(overrides, "["), "]")
	var found []node.Override
	if list != "" {
		var ok bool
		if found, ok = node.ParseOverrides([]string{list}); !ok {
			s.FlagsProblem = errStrange.Error()
			return
		}
	}
	s.Flags = &Flags{Overrides: found, Prefix: prefix, Raw: raw}
}
