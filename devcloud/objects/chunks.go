package objects

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// maxLine bounds the line before a chunk (its length and a signature) and a trailer.
const maxLine = 1024

// decodeChunks reads a body in aws-chunked form: lines of "hex length[;chunk-signature=…]", each with its data, up to
// a length of 0, then trailers. Signatures of chunks are not checked; of the checksums only CRC32 is, which is what
// the SDKs send unless told otherwise. See "Signature calculations: transferring payload in multiple chunks" in the
// S3 API reference.
func decodeChunks(body io.Reader, size int64) ([]byte, error) {
	in := bufio.NewReaderSize(body, maxLine)
	data := []byte{}
	for {
		line, err := readLine(in)
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(digits, 16, 64)
		if err != nil || n < 0 || n > size-int64(len(data)) {
			return nil, errors.New("a chunk has no length, or more than X-Amz-Decoded-Content-Length announced")
		}
		if n == 0 {
			break
		}
		// Grown by what really arrives, not by what was announced.
		before := len(data)
		part, err := io.ReadAll(io.LimitReader(in, n))
		data = append(data, part...)
		if err != nil || int64(len(data)-before) != n {
			return nil, errors.New("the body ends within a chunk")
		}
		if end, err := readLine(in); err != nil || end != "" {
			return nil, errors.New("a chunk is longer than it says")
		}
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("the body has %d bytes, X-Amz-Decoded-Content-Length says %d", len(data), size)
	}
	return data, checkTrailers(in, data)
}

func checkTrailers(in *bufio.Reader, data []byte) error {
	for {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) || (err == nil && line == "") {
			return nil // some clients leave out the last empty line
		}
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "x-amz-checksum-crc32") {
			continue
		}
		sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
		if strings.TrimSpace(value) != base64.StdEncoding.EncodeToString(sum) {
			return errors.New("the CRC32 in the trailer is not that of the body")
		}
	}
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("the body ends early or has a line over %d bytes: %w", maxLine, err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}
