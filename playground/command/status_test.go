package command

import (
	"bytes"
	"testing"
	"time"

	"github.com/svmctl/svmctl/playground/supervisor"
)

func TestStatusTable(t *testing.T) {
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := writeStatus(&out, supervisor.Status{Processes: []supervisor.Process{
		{Name: "etcd", State: supervisor.Running, PID: 42, StartedAt: &started, Starts: 1, LogFile: "/d/etcd.log"},
		{Name: "kube-apiserver", State: supervisor.Exited, StartedAt: &started, Starts: 2, Exit: "signal: killed", LogFile: "/d/a.log"},
	}}, "table", started.Add(90*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := `NAME            STATE    PID  AGE    STARTS  EXIT            LOG
etcd            running  42   1m30s  1       -               /d/etcd.log
kube-apiserver  exited   -    -      2       signal: killed  /d/a.log
`
	if out.String() != want {
		t.Errorf("table is\n%s\nwant\n%s", out.String(), want)
	}
}
