package bundle

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// removed stands where a secret was.
const removed = "REMOVED"

// sensitive is how things are called whose values are nobody else's business.
const sensitive = `(?:token|passw(?:or)?d|passphrase|secret|credential|api[-_]?key|access[-_]?key|private[-_]?key|priv[-_]?key|client[-_]?key|auth[-_]?key|(?:client-)?key-data|authorization|dockerconfigjson|psk)`

// scrubber removes secrets from texts: by how they look, and by what they are called.
type scrubber struct {
	blocks, looks, url, assigned, called, path *regexp.Regexp
	// words are in all that looks, url and assigned match, in lower case.
	words [][]byte
}

func newScrubber() *scrubber {
	s := &scrubber{
		// RFC 7468, of which the end may be cut off; the same, and certificates, in base64. They may be longer than a piece.
		blocks: regexp.MustCompile(`-----BEGIN (?s:[A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z))|LS0tLS1CRUdJTi[A-Za-z0-9+/=]*`),
		looks: regexp.MustCompile(strings.Join([]string{
			`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`,                            // JSON web tokens: RFC 7519
			`(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{12,}`,                                    // RFC 6750, RFC 7617
			`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`,                                                        // kubeadm's bootstrap tokens
			`\bAKIA[0-9A-Z]{16}\b`, `\bgh[pousr]_[A-Za-z0-9]{20,}\b`, `\bglpat-[A-Za-z0-9_-]{20,}`, // what clouds and forges hand out
		}, "|")),
		url:      regexp.MustCompile(`(://)[^/\s:@"']*:[^/\s@"']+(@)`),
		assigned: regexp.MustCompile(`(?i)((?:--)?[a-z0-9_.-]*` + sensitive + `s?(?:-file|-data)?\\?["']?(?:\s*[=:]\s*|\s+)\\?["']?)([^\s"'\\,;&}\])]+)`),
		called:   regexp.MustCompile(`(?i)` + sensitive + `s?(?:[-_.]?data)?$`),
		path:     regexp.MustCompile(`^/[\w./-]+\.(?:pem|key|crt|sock)$`),
	}
	for _, w := range []string{"token", "passw", "passphrase", "secret", "credential", "authorization", "dockerconfigjson", "psk", "key-data", "apikey", "accesskey", "privatekey",
		"privkey", "clientkey", "authkey", "_key", "-key", "eyj", "bearer", "basic", "akia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-"} {
		s.words = append(s.words, []byte(w))
	}
	return s
}

// piece is about how much of a text is looked at at once. Dumps are long, and hardly any of their pieces has one of the words.
const piece = 4 << 10

// text removes secrets from a text.
func (s *scrubber) text(in []byte) []byte {
	if bytes.Contains(in, []byte("-----BEGIN ")) || bytes.Contains(in, []byte("LS0tLS1CRUdJTi")) {
		in = s.blocks.ReplaceAll(in, []byte(removed))
	}
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		n := cut(in)
		out = append(out, s.piece(in[:n])...)
		in = in[n:]
	}
	return out
}

// cut is where a piece of a text ends: behind a line, or else a comma, so that names and their values stay together.
func cut(text []byte) int {
	if len(text) <= piece {
		return len(text)
	}
	for _, end := range []byte("\n, ") {
		if i := bytes.LastIndexByte(text[:piece], end); i > 0 {
			return i + 1
		}
	}
	return piece
}

func (s *scrubber) piece(in []byte) []byte {
	lower := bytes.ToLower(in)
	if bytes.Contains(in, []byte("://")) {
		in = s.url.ReplaceAll(in, []byte("${1}"+removed+"${2}"))
	}
	if !slices.ContainsFunc(s.words, func(w []byte) bool { return bytes.Contains(lower, w) }) && !bootstrapToken(in) {
		return in
	}
	in = s.looks.ReplaceAll(in, []byte(removed))
	return s.assigned.ReplaceAllFunc(in, func(match []byte) []byte {
		parts := s.assigned.FindSubmatch(match)
		name, value := string(parts[1]), string(parts[2])
		// Words behind a space are values behind flags alone; anywhere else they are a sentence's next words.
		if !strings.ContainsAny(name, "=:") && !strings.HasPrefix(name, "--") || s.harmless(value) {
			return match
		}
		return append(bytes.Clone(parts[1]), removed...)
	})
}

// bootstrapToken tells whether there may be one of kubeadm's: sixteen letters and digits behind a dot.
func bootstrapToken(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '.')
		if i < 0 {
			return false
		}
		text = text[i+1:]
		n := 0
		for n < len(text) && (text[n] >= 'a' && text[n] <= 'z' || text[n] >= '0' && text[n] <= '9') {
			n++
		}
		if n == 16 {
			return true
		}
	}
}

// harmless tells whether a value says nothing: a switch, a number of few digits, the path of a file.
func (s *scrubber) harmless(value string) bool {
	return value == removed || slices.Contains([]string{"true", "false", "null", "{", "[", "{}", "[]"}, strings.ToLower(value)) || s.path.MatchString(value)
}

// values removes secrets from what JSON holds, in place, and returns it.
func (s *scrubber) values(v any) any {
	switch v := v.(type) {
	case string:
		return string(s.text([]byte(v)))
	case []any:
		for i := range v {
			if flag, ok := v[max(0, i-1)].(string); ok && i > 0 && strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") && s.called.MatchString(flag) {
				v[i] = removed // --password, and in the next word its value
				continue
			}
			v[i] = s.values(v[i])
		}
	case map[string]any:
		if name, ok := v["name"].(string); ok && s.called.MatchString(name) {
			if _, ok := v["value"].(string); ok {
				v["value"] = removed // of an environment
			}
		}
		for key, value := range v {
			if text, ok := value.(string); ok && s.called.MatchString(key) && !s.harmless(text) {
				v[key] = removed
				continue
			}
			v[key] = s.values(value)
		}
	}
	return v
}

// annotations keeps the values of those that Kubernetes' own components and the network write; what others keep in theirs is not known.
func annotations(in map[string]string) {
	for key := range in {
		prefix, _, _ := strings.Cut(key, "/")
		own := slices.ContainsFunc([]string{"kubernetes.io", "k8s.io", "k8s.ovn.org", "cncf.io"}, func(domain string) bool {
			return prefix == domain || strings.HasSuffix(prefix, "."+domain)
		})
		// kubectl keeps there all that was ever applied.
		if !own || key == "kubectl.kubernetes.io/last-applied-configuration" {
			in[key] = removed
		}
	}
}
