package kms

import (
	"context"
	"crypto/rand"

	"k8s.io/kms/apis/v2"
)

// annotationKey is a domain name, as the apiserver takes no other.
const annotationKey = "wrapped.kms.playground.svmctl.dev"

type serviceV2 struct {
	v2.UnimplementedKeyManagementServiceServer
	plugin *Plugin
}

func (s *serviceV2) Status(context.Context, *v2.StatusRequest) (*v2.StatusResponse, error) {
	id, _ := s.plugin.keys.IDs()
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	return &v2.StatusResponse{Version: "v2", Healthz: s.plugin.healthz, KeyId: id}, nil
}

func (s *serviceV2) Encrypt(_ context.Context, request *v2.EncryptRequest) (*v2.EncryptResponse, error) {
	response := &v2.EncryptResponse{}
	var bound []byte
	if s.plugin.settings.Annotate {
		bound = make([]byte, 16)
		rand.Read(bound)
		response.Annotations = map[string][]byte{annotationKey: bound}
	}
	var err error
	response.Ciphertext, response.KeyId, err = s.plugin.keys.seal(request.Plaintext, bound)
	if err != nil {
		return nil, refusal(err)
	}
	return response, nil
}

func (s *serviceV2) Decrypt(_ context.Context, request *v2.DecryptRequest) (*v2.DecryptResponse, error) {
	plaintext, err := s.plugin.keys.open(request.KeyId, request.Ciphertext, request.Annotations[annotationKey])
	if err != nil {
		return nil, refusal(err)
	}
	return &v2.DecryptResponse{Plaintext: plaintext}, nil
}
