package main

import (
	"context"

	"github.com/svmctl/svmctl/internal/etcdscan"
	"github.com/svmctl/svmctl/internal/etcdscan/decrypt"
	"github.com/svmctl/svmctl/internal/verify"
	"github.com/svmctl/svmctl/internal/verify/expect"
)

// candidate is an EncryptionConfiguration that is not rolled out yet.
type candidate struct {
	*unlocked
	opener etcdscan.Opener
}

// candidate reads the file, beside the one that is in force.
func (u *unlocked) candidate(ctx context.Context, enc *encryptionFlags, file string) (*candidate, error) {
	next := *enc
	next.file = file
	loaded, err := next.load(ctx)
	if err != nil {
		return nil, err
	}
	c := &candidate{unlocked: loaded, opener: loaded.opener()}
	if loaded.open != openNone {
		c.opener = decrypt.NewCandidate(loaded.keyring, u.keyring)
	}
	return c, nil
}

func (c *candidate) expectations() verify.Expectations {
	return expect.Candidate(c.config(), c.current, c.roots)
}
