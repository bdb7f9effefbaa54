package conversion

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func parse(t *testing.T, data string) object {
	t.Helper()
	var object object
	if err := json.Unmarshal([]byte(data), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// same compares as JSON values, with numbers as they are written.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	values := make([]any, 2)
	for i, data := range []string{a, b} {
		decoder := json.NewDecoder(strings.NewReader(data))
		decoder.UseNumber()
		if err := decoder.Decode(&values[i]); err != nil {
			t.Fatal(err)
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

func selfie(version, spec string) string {
	// The number is one that a float64 does not hold.
	return fmt.Sprintf(`{"apiVersion":"stable.example.com/%s","kind":"SelfieRequest","metadata":`+
		`{"name":"a","generation":9007199254740993,"labels":{"a":"<b>"}},"spec":%s,"status":{"n":1.50}}`, version, spec)
}

func TestConvertsBothWays(t *testing.T) {
	for _, test := range []struct{ v1, v2 string }{
		{`{"hostPort":"localhost:1234"}`, `{"host":"localhost","port":"1234"}`},
		{`{"hostPort":"[::1]:80"}`, `{"host":"[::1]","port":"80"}`},
		{`{"hostPort":"[fe80::1%eth0]:80"}`, `{"host":"[fe80::1%eth0]","port":"80"}`},
		{`{"hostPort":"::1:80"}`, `{"host":"::1","port":"80"}`},
		{`{"hostPort":"localhost:"}`, `{"host":"localhost","port":""}`},
		{`{"hostPort":"a<b>:http","other":[1.0,{"x":null}]}`, `{"host":"a<b>","port":"http","other":[1.0,{"x":null}]}`},
		{`{}`, `{}`},
		{`null`, `null`},
	} {
		for _, way := range []struct{ from, in, to, want string }{
			{"v1", test.v1, "v2", test.v2}, {"v2", test.v2, "v1", test.v1},
		} {
			object := parse(t, selfie(way.from, way.in))
			if err := object.convert(group + "/" + way.to); err != nil {
				t.Errorf("%s %s: %v", way.from, way.in, err)
				continue
			}
			got, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if want := selfie(way.to, way.want); !same(t, string(got), want) {
				t.Errorf("%s %s became\n%s, want\n%s", way.from, way.in, got, want)
			}
		}
	}
}

func TestRefusesWhatItCannotConvert(t *testing.T) {
	for _, test := range []struct{ from, spec, to, want string }{
		{"v1", `{"hostPort":"localhost"}`, "v2", `hostPort "localhost"`},
		{"v1", `{"hostPort":""}`, "v2", "want HOST:PORT"},
		{"v1", `{"hostPort":":80"}`, "v2", "want HOST:PORT"},
		{"v1", `{"hostPort":"[::1]"}`, "v2", "want HOST:PORT"},
		{"v1", `{"hostPort":80}`, "v2", "parsing hostPort: not a string"},
		{"v1", `"localhost:80"`, "v2", "parsing spec"},
		{"v2", `{"host":"localhost"}`, "v1", "parsing port: missing"},
		{"v2", `{"port":"80"}`, "v1", "parsing host: missing"},
		{"v2", `{"host":"","port":"80"}`, "v1", "no hostPort"},
		{"v2", `{"host":"a","port":"80:81"}`, "v1", "no hostPort"},
		{"v1", `{}`, "v3", `no conversion from "stable.example.com/v1" to "stable.example.com/v3"`},
		{"v3", `{}`, "v1", "no conversion from"},
	} {
		object := parse(t, selfie(test.from, test.spec))
		err := object.convert(group + "/" + test.to)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s to %s: error is %v, want %s", test.from, test.spec, test.to, err, test.want)
		}
	}
	foreign := parse(t, `{"apiVersion":"example.com/v1","kind":"SelfieRequest","spec":{"hostPort":"a:1"}}`)
	if err := foreign.convert(group + "/v2"); err == nil {
		t.Error("an object of another group was converted")
	}
}

// Whatever can be converted comes back as it was, from either side.
func TestThereAndBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		var out strings.Builder
		for range random.IntN(6) {
			out.WriteString([]string{":", "[", "]", "a", "1", "é", `"`}[random.IntN(7)])
		}
		return out.String()
	}
	converted := 0
	for range 20_000 {
		spec, from, to := object{}, "v1", "v2"
		if random.IntN(2) == 0 {
			spec.set("hostPort", word())
		} else {
			from, to = to, from
			spec.set("host", word())
			spec.set("port", word())
		}
		data, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		before := selfie(from, string(data))
		object := parse(t, before)
		if object.convert(group+"/"+to) != nil {
			continue
		}
		converted++
		if err := object.convert(group + "/" + from); err != nil {
			t.Fatalf("%s went and did not come back: %v", before, err)
		}
		after, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		if !same(t, before, string(after)) {
			t.Fatalf("%s came back as\n%s", before, after)
		}
	}
	if converted < 5000 {
		t.Errorf("only %d of 20000 could be converted at all", converted)
	}
}
