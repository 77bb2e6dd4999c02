package artifact

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestECRHosts(t *testing.T) {
	f := newFetcher(t, Options{AWS: aws.Config{Region: "eu-central-1"}, ECRHosts: []string{"mirror.example:5000"}})
	for host, want := range map[string]ecrEndpoint{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":                {"eu-west-1", "https://api.ecr.eu-west-1.amazonaws.com/"},
		"123456789012.dkr.ecr.us-gov-west-1.amazonaws.com":            {"us-gov-west-1", "https://api.ecr.us-gov-west-1.amazonaws.com/"},
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com":           {"us-east-1", "https://api.ecr-fips.us-east-1.amazonaws.com/"},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":            {"cn-north-1", "https://api.ecr.cn-north-1.amazonaws.com.cn/"},
		"123456789012.dkr-ecr.us-east-1.on.aws":                       {"us-east-1", "https://ecr.us-east-1.api.aws/"},
		"123456789012.dkr-ecr-fips.us-east-1.on.aws":                  {"us-east-1", "https://ecr-fips.us-east-1.api.aws/"},
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn": {"cn-north-1", "https://ecr.cn-north-1.api.amazonwebservices.com.cn/"},
		"mirror.example:5000":                                         {"eu-central-1", "https://api.ecr.eu-central-1.amazonaws.com/"},
		"mirror.example":                                              {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443":           {},
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example":   {},
		"123456789012.dkr.ecr.evil.example":                           {},
		"123456789012.dkr.ecr.eu-west-1.evil.example.amazonaws.com":   {},
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com":                 {},
		"x123456789012.dkr.ecr.eu-west-1.amazonaws.com":               {},
		"123456789012.dkr-ecr.us-east-1.amazonaws.com":                {},
		"123456789012.dkr.ecr.us-east-1.on.aws":                       {},
		"public.ecr.aws":                                              {},
	} {
		if got, ok := f.ecrEndpoint(host); got != want || ok != (want.url != "") {
			t.Errorf("%s: %+v %v, want %+v", host, got, ok, want)
		}
	}
}

func TestManifests(t *testing.T) {
	part := func(mediaType, annotations string) string {
		return fmt.Sprintf(`{"mediaType":%q,"size":1,"digest":"%s","annotations":{%s}}`, mediaType, digest, annotations)
	}
	title := func(s string) string { return `"org.opencontainers.image.title":"` + s + `"` }
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	linux := `{"mediaType":"` + image + `","size":1,"digest":"` + digest + `","platform":{"os":"linux","architecture":"arm64"}}`
	attestation := part(image, `"vnd.docker.reference.type":"attestation-manifest"`)
	for name, c := range map[string]struct {
		mediaType, text string
		want            string // names, or the chosen number of an index; empty: unsupported
	}{
		"titles":            {image, `{"layers":[` + part("x/y", title("m.onnx")) + `,` + part("x/y", title("/a/.hid den")) + `]}`, "m.onnx hid_den"},
		"media types":       {image, `{"layers":[` + part("application/onnx", "") + `,` + part("text/yaml", "") + `,` + part("application/vnd.x.labels", "") + `]}`, "model.onnx manifest.yaml labels.txt"},
		"an image":          {image, `{"layers":[` + part(ocispec.MediaTypeImageLayer, "") + `,` + part(ocispec.MediaTypeImageLayerGzip, "") + `,` + part(ocispec.MediaTypeImageLayerZstd, "") + `]}`, "layer-1.tar layer-2.tar.gz layer-3.tar.zst"},
		"Docker's image":    {dockerManifest, `{"mediaType":"` + dockerManifest + `","layers":[` + part("application/vnd.docker.image.rootfs.diff.tar.gzip", "") + `]}`, "layer-1.tar.gz"},
		"an artefact":       {artifactManifest, `{"mediaType":"` + artifactManifest + `","blobs":[` + part("x/y", title("m.onnx")) + `]}`, "m.onnx"},
		"unknown left out":  {image, `{"layers":[` + part("x/y", "") + `,` + part("x/y", title("m.onnx")) + `]}`, "m.onnx"},
		"bad title":         {image, `{"layers":[` + part("x/y", title("..")) + `]}`, "layer-1"},
		"nothing usable":    {image, `{"layers":[` + part("x/y", "") + `]}`, ""},
		"no layers":         {image, `{"layers":[]}`, ""},
		"one of two":        {index, `{"manifests":[` + linux + `,` + part(image, "") + `]}`, "index"},
		"the only one":      {index, `{"manifests":[` + linux + `,` + attestation + `]}`, "index"},
		"Docker's list":     {dockerManifestList, `{"manifests":[` + linux + `]}`, "index"},
		"two platforms":     {index, `{"manifests":[` + linux + `,` + linux + `]}`, ""},
		"two without":       {index, `{"manifests":[` + part(image, "") + `,` + part(image, "") + `]}`, ""},
		"empty index":       {index, `{"manifests":[]}`, ""},
		"two kinds":         {image, `{"layers":[` + part("x/y", title("m")) + `],"manifests":[` + linux + `]}`, ""},
		"another type":      {image, `{"mediaType":"` + index + `","layers":[` + part("x/y", title("m")) + `]}`, ""},
		"old Docker":        {"application/vnd.docker.distribution.manifest.v1+json", `{"fsLayers":[]}`, ""},
		"no JSON":           {image, `{`, ""},
		"no digest":         {image, `{"layers":[{"mediaType":"application/onnx","size":1}]}`, ""},
		"traversing digest": {image, `{"layers":[{"mediaType":"application/onnx","size":1,"digest":"sha256:../../x"}]}`, ""},
		"negative size":     {image, `{"layers":[{"mediaType":"application/onnx","size":-1,"digest":"` + digest + `"}]}`, ""},
		"too many":          {image, `{"layers":[` + strings.Repeat(part("x/y", title("m"))+",", maxLayers) + part("x/y", title("m")) + `]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var names []string
			m, err := parseManifest([]byte(c.text), c.mediaType)
			if err == nil && m.index() {
				_, err = m.only()
				names = []string{"index"}
			} else if err == nil {
				var layers []layer
				layers, err = m.usable()
				for _, l := range layers {
					names = append(names, l.name)
				}
			}
			if c.want == "" {
				assertCode(t, err, CodeManifestUnsupported)
			} else if got := strings.Join(names, " "); err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}
