package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unshown are the flags of kubectl that carry secrets themselves. All other secrets are in files, of which the names are shown.
var unshown = []string{"token", "password"}

// recorded is how a command was called, for a bundle: its flags as they were understood, so that no secret can be taken for something
// else. The directory of the bundle is left out.
func recorded(cmd *cobra.Command, args []string) []string {
	all := strings.Fields(cmd.CommandPath())[1:]
	all = append(all, args...)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "evidence" {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			if slices.Contains(unshown, f.Name) {
				v = "…"
			}
			all = append(all, "--"+f.Name+"="+withoutCredentials(v))
		}
	})
	return all
}

// withoutCredentials takes out of a URL, or of RESOURCE=URL[,URL], whatever may let somebody in.
func withoutCredentials(text string) string {
	resource, rest, ok := strings.Cut(text, "=")
	if ok && strings.Contains(rest, "://") && !strings.Contains(resource, "://") {
		return resource + "=" + withoutCredentials(rest)
	}
	if !strings.Contains(text, "://") {
		return text
	}
	parts := strings.Split(text, ",")
	for i, part := range parts {
		u, err := url.Parse(part)
		if err != nil {
			parts[i] = "…"
			continue
		}
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}
