package plane

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// User is a user that the apiserver knows by a token.
type User struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
}

// userName keeps a name usable in a file name and in the token file.
var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]*$`)

// ParseUser parses NAME[:GROUP,…].
func ParseUser(value string) (User, error) {
	name, groups, found := strings.Cut(value, ":")
	if !userName.MatchString(name) {
		return User{}, fmt.Errorf("user name %q: want letters, digits and ._@-", name)
	}
	if strings.HasPrefix(name, apiserverUser) || slices.ContainsFunc(internalUsers(), func(u User) bool { return u.Name == name }) {
		return User{}, fmt.Errorf("user name %q: the playground has that one itself", name)
	}
	user := User{Name: name}
	if !found {
		return user, nil
	}
	for group := range strings.SplitSeq(groups, ",") {
		if group == "" {
			return User{}, fmt.Errorf("user %q: empty group", value)
		}
		user.Groups = append(user.Groups, group)
	}
	return user, nil
}

// userList is the flag value of --user.
type userList struct {
	users *[]User
}

func (l *userList) Set(value string) error {
	if value == "" { // --user= forgets the users of an earlier `up`
		return nil
	}
	user, err := ParseUser(value)
	if err != nil {
		return err
	}
	*l.users = append(*l.users, user)
	return nil
}

func (l *userList) String() string { return "" }

func (l *userList) Type() string { return "user" }
