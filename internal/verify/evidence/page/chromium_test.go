package page_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var screenshots = flag.String("screenshots", "", "directory for pictures of the pages, to be looked at")

// chromium is the browser of testdata/chromium.sh.
func chromium(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../../../bin/chromium")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if _, err := exec.LookPath("apt-get"); errors.Is(err, exec.ErrNotFound) || os.Geteuid() != 0 {
		t.Skip("no Chromium, and it cannot be installed: make bin/chromium installs it for root, from Debian's packages")
	}
	t.Fatal("no bin/chromium: run make bin/chromium")
	return ""
}

// browser is a tab of a browser that the test has started, and that ends with it.
type browser struct {
	context.Context
	mu       sync.Mutex
	messages []string
	requests []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900))
	ctx, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	b := &browser{Context: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	b.do(t, call(runtime.Enable, cdp.Empty{}), call(log.Enable, cdp.Empty{}), call(network.Enable, network.EnableParams{}))
	return b
}

func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, params)
		return err
	})
}

func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, "exception "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.messages = append(b.messages, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b, steps...); err != nil {
		t.Fatal(err)
	}
}

func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	value, err := chromedp.Run(b, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (b *browser) media(t *testing.T, media, scheme string) {
	t.Helper()
	b.do(t, call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
}

func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(b, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// faint lists texts whose colour differs too little from what they stand on (WCAG 2.2, 1.4.3).
const faint = `(() => {
	const parse = c => { const [r, g, b, a = 1] = c.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
	const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
	const ground = e => { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; return over(c, e.parentElement ? ground(e.parentElement) : [255, 255, 255, 1]); };
	const found = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let n, seen = 0;
	while (n = texts.nextNode()) {
		const e = n.parentElement;
		if (!n.textContent.trim() || !e.checkVisibility() || e.closest('.skip')) continue;
		seen++;
		const below = ground(e), a = light(over(parse(getComputedStyle(e).color), below)), b = light(below);
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) found.add(ratio.toFixed(2) + ' ' + e.tagName + '.' + e.className + ' ' + n.textContent.trim().slice(0, 40));
	}
	if (seen < 100) found.add('only ' + seen + ' texts');
	return [...found];
})()`

// unseen lists what has a text and no place on the page, but for what a condition leaves out.
const unseen = `[...document.querySelectorAll('main p, main li, main dt, main dd, main th, main td, main h2, main h3, main caption, main pre')]
	.filter(e => e.textContent.trim() %s && (!e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true, opacityProperty: true}) || !e.getClientRects().length || !e.getBoundingClientRect().height))
	.map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 60))`

func TestPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	for _, name := range []string{"passing", "failing", "snapshot", "hostile"} {
		t.Run(name, func(t *testing.T) {
			d := documents[name]()
			file := filepath.Join(t.TempDir(), "report.html")
			if err := os.WriteFile(file, []byte(rendered(t, d, ".html")), 0o644); err != nil {
				t.Fatal(err)
			}
			b.requests, b.messages = nil, nil
			b.do(t, chromedp.EmulateViewport(1280, 900))
			b.media(t, "", "light")
			b.do(t, chromedp.Navigate("file://"+file))
			if got := eval[string](t, b, `document.title`); !strings.HasPrefix(got, "Encryption at rest: ") {
				t.Errorf("the title is %q", got)
			}

			lookAt(t, b, name)
			narrow(t, b, name)
			onPaper(t, b, name, d.Scan.Claims[0].Statement)
			tree(t, b)
			keyboard(t, b)

			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.messages) > 0 {
				t.Errorf("the console says %q", b.messages)
			}
			if !slices.Equal(b.requests, []string{"file://" + file}) {
				t.Errorf("the page asked for %q", b.requests)
			}
		})
	}
}

func lookAt(t *testing.T, b *browser, name string) {
	for _, scheme := range []string{"light", "dark"} {
		b.media(t, "", scheme)
		ground := eval[[]float64](t, b, `getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number)`)
		if dark := ground[0]+ground[1]+ground[2] < 150; dark != (scheme == "dark") {
			t.Errorf("%s: the ground is %v", scheme, ground)
		}
		for _, f := range eval[[]string](t, b, faint) {
			t.Errorf("%s: contrast below 4.5: %s", scheme, f)
		}
		b.picture(t, name+"-"+scheme+".png")
	}
	b.media(t, "", "light")
	if bars := eval[int](t, b, `document.querySelectorAll('#store svg.bar[role=img]').length`); bars == 0 {
		t.Error("no chart")
	}
	// A single object that lies there unencrypted among a million is to be seen.
	for _, width := range eval[[]float64](t, b, `[...document.querySelectorAll('#store > .bars rect.plain')].map(r => r.getBoundingClientRect().width)`) {
		if width < 8 {
			t.Errorf("what is unencrypted is drawn %v px wide", width)
		}
	}
}

func narrow(t *testing.T, b *browser, name string) {
	b.do(t, chromedp.EmulateViewport(360, 780))
	if wide := eval[int](t, b, `document.scrollingElement.scrollWidth`); wide > 360 {
		t.Errorf("at 360 px the page is %d px wide: %q", wide, eval[[]string](t, b, `[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > 361).map(e => e.tagName + '.' + e.className).slice(0, 5)`))
	}
	b.picture(t, name+"-360.png")
	b.do(t, chromedp.EmulateViewport(1280, 900))
}

func onPaper(t *testing.T, b *browser, name, claim string) {
	for _, e := range eval[[]string](t, b, fmt.Sprintf(unseen, "&& !e.closest('details')")) {
		t.Errorf("on the screen nobody sees %s", e)
	}
	b.media(t, "print", "dark")
	for _, e := range eval[[]string](t, b, fmt.Sprintf(unseen, "")) {
		t.Errorf("on paper nobody sees %s", e)
	}
	if ground := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); ground != "rgb(255, 255, 255)" {
		t.Errorf("the paper is %s", ground)
	}
	for _, f := range eval[[]string](t, b, faint) {
		t.Errorf("on paper: contrast below 4.5: %s", f)
	}
	if text := eval[string](t, b, `document.querySelector('main').innerText`); !strings.Contains(text, claim) {
		t.Errorf("on paper nobody reads %q", claim)
	}
	b.media(t, "", "light")
	pdf, err := chromedp.Run(b, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	if err != nil {
		t.Fatal(err)
	}
	pages := bytes.Count(pdf, []byte("/Type /Page\n"))
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) || pages == 0 {
		t.Errorf("%d bytes of PDF with %d pages", len(pdf), pages)
	}
	if name == "snapshot" && pages < 10 {
		t.Errorf("%d pages for 300 resources: what is folded was not printed", pages)
	}
	if *screenshots != "" {
		if err := os.WriteFile(filepath.Join(*screenshots, name+".pdf"), pdf, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tree reads the page as a screen reader does.
func tree(t *testing.T, b *browser) {
	var nodes []*accessibility.Node
	b.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		got, err := cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		nodes = got.Nodes
		return err
	}))
	roles := make(map[string]int)
	level := 0
	for _, n := range nodes {
		if n.Ignored || n.Role == nil {
			continue
		}
		role, name := text(n.Role), text(n.Name)
		roles[role]++
		switch role {
		case "heading":
			for _, p := range n.Properties {
				if p.Name != "level" {
					continue
				}
				var at int
				if err := json.Unmarshal(p.Value.Value, &at); err != nil {
					t.Fatal(err)
				}
				if at > level+1 {
					t.Errorf("heading %q of level %d follows one of level %d", name, at, level)
				}
				if level = at; at == 1 {
					roles["h1"]++
				}
			}
		case "table", "region", "navigation", "image", "link", "article":
			if name == "" && role != "article" {
				t.Errorf("a %s without a name", role)
			}
		}
	}
	for _, role := range []string{"h1", "main", "banner", "navigation", "contentinfo"} {
		if roles[role] != 1 {
			t.Errorf("%d of %s, want 1", roles[role], role)
		}
	}
	if roles["table"] == 0 || roles["caption"]+roles["Caption"] == 0 || roles["columnheader"] == 0 || roles["rowheader"] == 0 {
		t.Errorf("tables without captions or headers: %v", roles)
	}
	for _, problem := range eval[[]string](t, b, `[
		...[...document.querySelectorAll('table')].filter(e => !e.caption || !e.caption.textContent).map(e => 'a table without a caption'),
		...[...document.querySelectorAll('th')].filter(e => !e.scope).map(e => 'a header without a scope: ' + e.textContent),
		...[...document.querySelectorAll('[id]')].filter((e, i, all) => all.findIndex(o => o.id === e.id) !== i).map(e => 'id twice: ' + e.id),
		...[...document.querySelectorAll('a[href^="#"], use')].filter(e => !document.querySelector(e.getAttribute('href'))).map(e => 'a link to nowhere: ' + e.getAttribute('href')),
		...[...document.querySelectorAll('dl > *')].filter(e => e.tagName !== 'DIV' || !e.querySelector('dt') || !e.querySelector('dd')).map(e => 'a term without a description: ' + e.textContent),
	]`) {
		t.Error(problem)
	}
	if lang := eval[string](t, b, `document.documentElement.lang`); lang != "en" {
		t.Errorf("the language is %q", lang)
	}
}

func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var s string
	_ = json.Unmarshal(v.Value, &s)
	return s
}

func keyboard(t *testing.T, b *browser) {
	ctx, cancel := context.WithTimeout(b, time.Minute)
	defer cancel()
	tab := func() string {
		if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
			t.Fatal(err)
		}
		return eval[string](t, b, `(e => e.className || e.tagName + ' ' + e.textContent)(document.activeElement)`)
	}
	if first := tab(); first != "skip" {
		t.Errorf("Tab reaches %q first", first)
	}
	if top := eval[float64](t, b, `document.activeElement.getBoundingClientRect().top`); top < 0 {
		t.Errorf("the link to skip with is %v px beyond the page", top)
	}
	if outline := eval[string](t, b, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
		t.Error("focus cannot be seen")
	}
	if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	if at := eval[string](t, b, `document.activeElement.id`); at != "claims" {
		t.Errorf("the link leads to %q", at)
	}
}
