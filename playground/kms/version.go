package kms

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Version is that of the API as an EncryptionConfiguration names it.
type Version string

const (
	V1 Version = "v1"
	V2 Version = "v2"
)

// String, Set and Type make a flag of it.
func (v *Version) String() string { return string(*v) }

// Set takes v2 or v1.
func (v *Version) Set(value string) error {
	if version := Version(value); version == V1 || version == V2 {
		*v = version
		return nil
	}
	return fmt.Errorf("want %s or %s", V2, V1)
}

// Type is the word for the value in a flag's help.
func (v *Version) Type() string { return "version" }

// refusal is an error as a caller sees it: a fixed text.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrNoKey):
		return status.Error(codes.NotFound, ErrNoKey.Error())
	case errors.Is(err, ErrDamaged):
		return status.Error(codes.InvalidArgument, ErrDamaged.Error())
	}
	return status.Error(codes.Internal, "encryption is out of order")
}
