package main
import ("context"; "io")
func benchMigrate(ctx context.Context, opts options) (Table, error) { return Table{}, nil }
func createSecrets(ctx context.Context, args []string, stdout io.Writer) error { return nil }
func patchSecrets(ctx context.Context, args []string, stdout io.Writer) error { return nil }
