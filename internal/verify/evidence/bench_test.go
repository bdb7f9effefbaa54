package evidence

import (
	"fmt"
	"io"
	"testing"

	"github.com/svmctl/svmctl/internal/audit"
	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/atrest"
)

// BenchmarkRecords writes the records of 10,000 secrets.
func BenchmarkRecords(b *testing.B) {
	const secrets = 10_000
	e := &etcdscan.Entry{Group: etcdscan.Group{Root: "/registry", Resource: "secrets", Opened: etcdscan.NotTried,
		AtRest: atrest.Encryption{Provider: atrest.AESCBC, Version: atrest.V1, Key: "key1"}}}
	r := new(Recorder)
	r.Begin()
	defer r.Close()
	for i := range secrets {
		rec := &etcdscan.Record{Key: fmt.Sprintf("/registry/secrets/namespace-%d/secret-%08d", i%100, i), ModRevision: int64(i), CreateRevision: int64(i), Version: 1}
		if err := r.Take(rec, e); err != nil {
			b.Fatal(err)
		}
	}
	report := &audit.Report{Totals: audit.Totals{Keys: secrets}}
	for _, mode := range []Mode{Names, HMAC} {
		for _, rows := range []io.Writer{nil, io.Discard} {
			b.Run(fmt.Sprintf("%s,csv=%v", mode, rows != nil), func(b *testing.B) {
				redactor, err := NewRedactor(mode, []byte("a key of this benchmark and of nobody else"))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.writeRecords(report, redactor, nil, io.Discard, rows); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
