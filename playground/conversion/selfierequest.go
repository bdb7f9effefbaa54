package conversion

import (
	"encoding/json"
	"fmt"
	"strings"
)

// group is the only one whose objects are converted.
const group = "stable.example.com"

// object is a custom resource of which only what changes is parsed: all other fields, metadata
// first, stay the bytes that they were.
type object map[string]json.RawMessage

func (o object) text(field string) (string, error) {
	if o[field] == nil {
		return "", fmt.Errorf("parsing %s: missing", field)
	}
	var text string
	if err := json.Unmarshal(o[field], &text); err != nil {
		return "", fmt.Errorf("parsing %s: not a string", field)
	}
	return text, nil
}

func (o object) set(field string, value any) {
	o[field], _ = json.Marshal(value) // strings and raw JSON that was parsed before
}

// fields parses an object within this one; there is none when the field is missing or null.
func (o object) fields(field string) (object, error) {
	if o[field] == nil {
		return nil, nil
	}
	var inner object
	if err := json.Unmarshal(o[field], &inner); err != nil {
		return nil, fmt.Errorf("parsing %s: not an object", field)
	}
	return inner, nil
}

// name is for messages and for FailName: an object without one has the empty name.
func (o object) name() string {
	metadata, err := o.fields("metadata")
	if err != nil {
		return ""
	}
	name, _ := metadata.text("name")
	return name
}

// convert changes a SelfieRequest to the version asked for. In v1 the spec holds hostPort, as
// "localhost:1234"; in v2 it holds host and port instead, both strings. hostPort is split at its
// last colon, and an IPv6 address keeps its brackets: "[::1]:80" has the host "[::1]". A spec
// with none of these fields is taken as it is, but one cannot be converted by half.
func (o object) convert(apiVersion string) error {
	from, err := o.text("apiVersion")
	if err != nil {
		return err
	}
	spec, err := o.fields("spec")
	if err != nil {
		return err
	}
	switch from + " to " + apiVersion {
	case group + "/v1 to " + group + "/v2":
		err = spec.split()
	case group + "/v2 to " + group + "/v1":
		err = spec.join()
	default:
		err = fmt.Errorf("no conversion from %q to %q", from, apiVersion)
	}
	if err != nil {
		return err
	}
	if spec != nil {
		o.set("spec", spec)
	}
	o.set("apiVersion", apiVersion)
	return nil
}

func (o object) split() error {
	if o["hostPort"] == nil {
		return nil
	}
	hostPort, err := o.text("hostPort")
	if err != nil {
		return err
	}
	colon := strings.LastIndexByte(hostPort, ':')
	// A last colon within brackets is one of the address, and no port follows.
	if colon <= 0 || strings.ContainsRune(hostPort[colon:], ']') {
		return fmt.Errorf("hostPort %q: want HOST:PORT", hostPort)
	}
	delete(o, "hostPort")
	o.set("host", hostPort[:colon])
	o.set("port", hostPort[colon+1:])
	return nil
}

func (o object) join() error {
	if o["host"] == nil && o["port"] == nil {
		return nil
	}
	host, err := o.text("host")
	if err != nil {
		return err
	}
	port, err := o.text("port")
	if err != nil {
		return err
	}
	if host == "" || strings.ContainsAny(port, ":]") {
		return fmt.Errorf("host %q and port %q: no hostPort can be made of them", host, port)
	}
	delete(o, "host")
	delete(o, "port")
	o.set("hostPort", host+":"+port)
	return nil
}
