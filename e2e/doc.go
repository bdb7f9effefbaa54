// Package e2e tests the shipped svmctl binary from outside, on real control planes. It holds no code but tests, and it
// never imports the project's own packages: what they promise is listed here again, so that a change of it is noticed.
package e2e
