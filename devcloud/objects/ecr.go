package objects

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gnomon/devcloud/internal/statefile"
)

const (
	tokenLife   = 12 * time.Hour // as ECR's
	maxRepoName = 256            // characters, ECR's limit
	maxECRBody  = 64 << 10       // a call carries at most 100 names
	expiryBytes = 8
	tokenBytes  = expiryBytes + 1 // and what it is good for
)

// What a registry token is good for.
const (
	mayPull byte = iota
	mayPush
)

var repoForm = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$`)

func validRepo(name string) bool { return len(name) <= maxRepoName && repoForm.MatchString(name) }

// newToken makes a password that carries its own end and what it is good for, and needs no list of those given out.
func (s *Service) newToken(now time.Time, may byte) (string, time.Time) {
	end := now.Add(tokenLife).Truncate(time.Second)
	data := append(binary.BigEndian.AppendUint64(nil, uint64(end.Unix())), may)
	return base64.RawURLEncoding.EncodeToString(append(data, s.sign(data)...)), end
}

func (s *Service) sign(data []byte) []byte {
	mac := hmac.New(sha256.New, s.tokenKey)
	mac.Write(data)
	return mac.Sum(nil)
}

// readToken says what a token is good for; ok is false if it is none or has expired.
func (s *Service) readToken(token string, now time.Time) (may byte, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) != tokenBytes+sha256.Size || !hmac.Equal(s.sign(data[:tokenBytes]), data[tokenBytes:]) {
		return 0, false
	}
	return data[expiryBytes], now.Unix() < int64(binary.BigEndian.Uint64(data))
}

func (s *Service) openRepos() error {
	data, err := os.ReadFile(s.reposPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s.repos)
	}
	if err != nil || s.repos == nil {
		return fmt.Errorf("%s is damaged; delete it and push again: %w", s.reposPath(), err)
	}
	return nil
}

func (s *Service) reposPath() string { return filepath.Join(s.options.Dir, "repositories.json") }

// addRepo says whether the repository is new. Callers hold mu.
func (s *Service) addRepo(name string) (bool, error) {
	if _, ok := s.repos[name]; ok {
		return false, nil
	}
	s.repos[name] = float64(time.Now().Unix())
	data, err := json.Marshal(s.repos)
	if err == nil {
		err = statefile.Write(s.reposPath(), data)
	}
	if err != nil {
		delete(s.repos, name)
	}
	return err == nil, err
}

func (s *Service) host(r *http.Request) string {
	if s.options.RegistryHost != nil {
		return s.options.RegistryHost()
	}
	return r.Host
}

func (s *Service) serveECR(w http.ResponseWriter, r *http.Request) {
	in := struct {
		RepositoryName  string   `json:"repositoryName"`
		RepositoryNames []string `json:"repositoryNames"`
	}{}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxECRBody))
	if err != nil || json.Unmarshal(data, &in) != nil {
		jsonError(w, http.StatusBadRequest, "SerializationException", "The request is not the JSON object this call takes")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out any
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), ecrTarget) {
	case "GetAuthorizationToken":
		may := mayPush
		if s.options.ReadOnly != nil && s.options.ReadOnly(r) {
			may = mayPull
		}
		token, end := s.newToken(time.Now(), may)
		out = map[string]any{"authorizationData": []any{map[string]any{
			"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + token)),
			"expiresAt":          end.Unix(), "proxyEndpoint": "https://" + s.host(r),
		}}}
	case "CreateRepository":
		if !validRepo(in.RepositoryName) {
			jsonError(w, http.StatusBadRequest, "InvalidParameterException", "repositoryName: lower case, digits, . _ - and /")
			return
		}
		fresh, err := s.addRepo(in.RepositoryName)
		if err != nil {
			jsonError(w, http.StatusInternalServerError, "ServerException", "The state directory could not be written")
			return
		}
		if !fresh {
			jsonError(w, http.StatusBadRequest, "RepositoryAlreadyExistsException", "The repository exists already")
			return
		}
		out = map[string]any{"repository": s.describe(r, in.RepositoryName)}
	case "DescribeRepositories":
		names := in.RepositoryNames
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(s.repos))
		}
		list := []any{}
		for _, name := range names {
			if _, ok := s.repos[name]; !ok {
				jsonError(w, http.StatusBadRequest, "RepositoryNotFoundException", "There is no such repository")
				return
			}
			list = append(list, s.describe(r, name))
		}
		out = map[string]any{"repositories": list}
	default:
		jsonError(w, http.StatusBadRequest, "UnknownOperationException", "This look-alike does not know that call")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out) // the client may have gone
}

func (s *Service) describe(r *http.Request, name string) any {
	return map[string]any{
		"repositoryName": name, "registryId": s.options.Account, "createdAt": s.repos[name],
		"repositoryUri": s.host(r) + "/" + name,
		"repositoryArn": "arn:aws:ecr:" + s.options.Region + ":" + s.options.Account + ":repository/" + name,
	}
}
