// Package rewrite makes an apiserver store objects again: with one empty
// merge patch per object (Patcher), or through the cluster's own
// StorageVersionMigration controller (Migrator).
//
// It never reads an object's contents, never opens etcd and never judges
// whether a migration is complete: what it returns are the apiserver's claims,
// which the caller settles by scanning etcd again. It prints and logs nothing.
package rewrite
