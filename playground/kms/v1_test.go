//lint:file-ignore SA1019 all of KMS v1 is deprecated, and there are clusters with it

package kms

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kms/apis/v1beta1"
	"k8s.io/kms/apis/v2"
)

func TestV1(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys")
	s := serve(t, V1, Settings{Name: "vault"}, keyFile, time.Now)
	client := v1beta1.NewKeyManagementServiceClient(s.conn)
	version, err := client.Version(t.Context(), &v1beta1.VersionRequest{Version: "v1beta1"})
	if err != nil || version.Version != "v1beta1" || version.RuntimeName != "vault" {
		t.Errorf("version is %v, %v", version, err)
	}
	var sealed [][]byte
	for range 2 {
		response, err := client.Encrypt(t.Context(), &v1beta1.EncryptRequest{Version: "v1beta1", Plain: []byte(canary)})
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, response.Cipher)
		s.do("/rotate")
	}
	for _, cipher := range sealed {
		response, err := client.Decrypt(t.Context(), &v1beta1.DecryptRequest{Version: "v1beta1", Cipher: cipher})
		if err != nil || string(response.Plain) != canary {
			t.Errorf("opened is %v, %v", response, err)
		}
	}
	s.do("/drop?id=kek-1")
	if _, err := client.Decrypt(t.Context(), &v1beta1.DecryptRequest{Cipher: sealed[0]}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("under a dropped key: error is %v", err)
	}
	if _, state := s.ask(http.MethodGet, "/counts"); state.Encrypt != 2 || state.Decrypt != 2 || state.Status != 1 || state.Failed != 1 {
		t.Errorf("state is %+v", state)
	}
	if _, err := s.v2.Status(t.Context(), &v2.StatusRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a plugin of v1 answered v2: %v", err)
	}
}
