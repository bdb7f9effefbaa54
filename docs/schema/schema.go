// Package schema holds the JSON Schemas of the files of an evidence bundle. They are made of the Go types, and compared with them by a
// test.
package schema

import "embed"

//go:embed *.json
var files embed.FS

// Of is the schema of a file of a bundle, such as scan.json; nil if it has none.
func Of(file string) []byte {
	text, err := files.ReadFile(file)
	if err != nil {
		return nil
	}
	return text
}
