//lint:file-ignore SA1019 all of KMS v1 is deprecated, and there are clusters with it

package kms

import (
	"context"

	"k8s.io/kms/apis/v1beta1"
)

type serviceV1 struct {
	v1beta1.UnimplementedKeyManagementServiceServer
	plugin *Plugin
}

func (s *serviceV1) Version(context.Context, *v1beta1.VersionRequest) (*v1beta1.VersionResponse, error) {
	return &v1beta1.VersionResponse{Version: "v1beta1", RuntimeName: s.plugin.settings.Name, RuntimeVersion: "0.1.0"}, nil
}

func (s *serviceV1) Encrypt(_ context.Context, request *v1beta1.EncryptRequest) (*v1beta1.EncryptResponse, error) {
	ciphertext, _, err := s.plugin.keys.seal(request.Plain, nil)
	if err != nil {
		return nil, refusal(err)
	}
	return &v1beta1.EncryptResponse{Cipher: ciphertext}, nil
}

func (s *serviceV1) Decrypt(_ context.Context, request *v1beta1.DecryptRequest) (*v1beta1.DecryptResponse, error) {
	plaintext, err := s.plugin.keys.openUnderAny(request.Cipher)
	if err != nil {
		return nil, refusal(err)
	}
	return &v1beta1.DecryptResponse{Plain: plaintext}, nil
}
