package render_test

import (
	"testing"

	"github.com/svmctl/svmctl/cmd/svmctl/internal/render"
	"github.com/svmctl/svmctl/internal/migrate"
)

const (
	webhookRefusal = `400 {"kind":"Status","apiVersion":"v1","status":"Failure","code":400,"reason":"BadRequest",` +
		`"message":"admission webhook \"policy.example.com\" denied the request: CANARY is too weak"}`
	validationRefusal = `422 {"kind":"Status","apiVersion":"v1","status":"Failure","code":422,"reason":"Invalid","message":"Secret \"mail\" is invalid: CANARY",` +
		`"details":{"name":"mail","kind":"Secret","causes":[{"reason":"FieldValueInvalid","message":"CANARY","field":"data[CANARY]"}]}}`
)

// mendable is the cluster once what no rewrite mends is out of the way.
func mendable() *cluster {
	c := rotation()
	delete(c.kvs, "/registry/secrets/kube-system/odd")
	return c
}

func asked(*migrate.Request) {}

func TestMigrationGolden(t *testing.T) {
	refusing := mendable()
	refusing.refuses = map[string]string{"db": webhookRefusal, "mail": validationRefusal}
	refused := refusing.migrate(t, asked)
	for name, opts := range map[string]render.Options{
		"migrate.table": options(render.Table), "migrate.colour.table": coloured(render.Table), "migrate.wide": options(render.Wide),
		"migrate.json": options(render.JSON), "migrate.yaml": options(render.YAML),
	} {
		compareGolden(t, name, renderMigration(t, refused, opts))
	}

	shown := mendable()
	shown.refuses = refusing.refuses
	compareGolden(t, "migrate.messages.table", renderMigration(t, shown.migrate(t, func(r *migrate.Request) { r.ShowMessages = true }), options(render.Table)))

	compareGolden(t, "migrate.complete.table", renderMigration(t, mendable().migrate(t, asked), options(render.Table)))

	current := newCluster()
	current.put("/registry/secrets/default/app", sealed("aescbc:v1:key2"))
	compareGolden(t, "migrate.nothing.table", renderMigration(t, current.migrate(t, asked), options(render.Table)))

	lagging := mendable()
	lagging.ignores = true
	for _, name := range []string{"a", "b"} { // five in all, which are enough to tell
		lagging.put("/registry/secrets/many/"+name, sealed("aescbc:v1:key1"))
	}
	laggard := lagging.migrate(t, asked)
	compareGolden(t, "migrate.laggard.table", renderMigration(t, laggard, options(render.Table)))

	compareGolden(t, "migrate.dry-run.table", renderMigration(t, mendable().migrate(t, func(r *migrate.Request) { r.DryRun = migrate.ClientDryRun }), options(render.Table)))
	tried := mendable()
	tried.refuses = refusing.refuses
	compareGolden(t, "migrate.dry-run-server.table",
		renderMigration(t, tried.migrate(t, func(r *migrate.Request) { r.DryRun = migrate.ServerDryRun }), options(render.Table)))
}
