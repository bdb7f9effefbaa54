package evidence

import (
	"encoding/json"
	"runtime"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// draftBatch is how many records are made at once: enough to be worth it, and few enough to be nothing in memory.
const draftBatch = 1024

// draft is a record on its way into the files.
type draft struct {
	taken     taken
	exception string

	salt, text []byte
	leaf       tlog.Hash
	row        []string // nil where no table is wanted
	err        error
}

// drafting makes records on all cores, a batch while the one before is written, and hands them over in the order in which they were taken.
type drafting struct {
	forms   []form
	workers []*Redactor // one each
	table   bool

	next, made []draft // what is being taken, and what is being made
	making     sync.WaitGroup
}

func newDrafting(forms []form, redactor *Redactor, table bool) *drafting {
	w := &drafting{forms: forms, table: table, next: make([]draft, 0, draftBatch), made: make([]draft, 0, draftBatch)}
	for range runtime.GOMAXPROCS(0) {
		w.workers = append(w.workers, redactor.twin())
	}
	return w
}

// take adds one. It returns records that are to be written now; they are valid until a further batch is handed over.
func (w *drafting) take(t taken, exception string) []draft {
	w.next = append(w.next, draft{taken: t, exception: exception})
	if len(w.next) < draftBatch {
		return nil
	}
	return w.handOver()
}

// handOver ends the batch that is being taken, and returns the one before. It has to be called twice for the rest.
func (w *drafting) handOver() []draft {
	w.making.Wait()
	ready := w.made
	w.made = w.next
	share := (len(w.made) + len(w.workers) - 1) / len(w.workers)
	for i, worker := range w.workers {
		part := w.made[min(i*share, len(w.made)):min((i+1)*share, len(w.made))]
		w.making.Go(func() {
			for i := range part {
				w.make(&part[i], worker)
			}
		})
	}
	w.next = make([]draft, 0, draftBatch) // what is handed over is still being written
	return ready
}

func (w *drafting) make(d *draft, redactor *Redactor) {
	record := w.forms[d.taken.Entry].line(d.taken, redactor, d.exception)
	d.salt = redactor.salt(d.taken.Key)
	if d.text, d.err = json.Marshal(record); d.err != nil {
		return
	}
	d.leaf = leaf(d.salt, d.text)
	if w.table {
		d.row = record.row()
	}
}
