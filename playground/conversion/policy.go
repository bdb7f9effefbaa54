package conversion

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/svmctl/svmctl/playground/outage"
)

// Policy says how the webhook is to misbehave. The zero Policy converts everything, and rightly.
type Policy struct {
	// FailName fails each review that holds an object whose name it matches; nil fails none.
	FailName *regexp.Regexp
	// FailMessage is the reason given with each failure on request.
	FailMessage string
	// Outage is when it answers HTTP 500.
	Outage outage.Plan
	// Delay is waited before each review is answered.
	Delay time.Duration
	// Wrong is what is wrong with each answer.
	Wrong Wrong
	// DropPort loses the port whenever v1 is converted to v2.
	DropPort bool
}

// Wrong is a fault of an answer that claims success. The apiserver refuses each of them.
type Wrong string

const (
	// WrongNothing is the zero value.
	WrongNothing Wrong = ""
	// WrongVersion leaves the objects at the apiVersion that they had.
	WrongVersion Wrong = "version"
	// WrongCount leaves out the last object.
	WrongCount Wrong = "count"
	// WrongUID answers a review that was not asked.
	WrongUID Wrong = "uid"
	// WrongMetadata renames the objects.
	WrongMetadata Wrong = "metadata"
)

// wrongs are those that can be asked for.
var wrongs = []string{string(WrongVersion), string(WrongCount), string(WrongUID), string(WrongMetadata)}

// String, Set and Type make a flag of it.
func (w *Wrong) String() string { return string(*w) }

// Set takes the name of a fault, and nothing else.
func (w *Wrong) Set(value string) error {
	for _, known := range wrongs {
		if value == known {
			*w = Wrong(value)
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(wrongs, ", "))
}

// Type is the word for the value in a flag's help.
func (w *Wrong) Type() string { return "fault" }
