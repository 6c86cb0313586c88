package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, c := range []struct {
		name    string
		samples []time.Duration
		p       float64
		want    time.Duration
	}{
		{"nothing", nil, 50, 0},
		{"one sample is every percentile", []time.Duration{7}, 99, 7},
		{"lowest", hundred, 0, 1},
		{"median of an even number is a sample", hundred, 50, 50},
		{"99 of 100", hundred, 99, 99},
		{"highest", hundred, 100, 100},
		{"99 of few is the worst", []time.Duration{1, 2, 90}, 99, 90},
		{"unsorted", []time.Duration{9, 1, 5}, 50, 5},
	} {
		if got := Percentile(c.samples, c.p); got != c.want {
			t.Errorf("%s: percentile %v = %v, want %v", c.name, c.p, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("Percentile sorted the caller's samples")
	}
}

func TestAmounts(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  string
		want  string
	}{
		{0, Count, "0"},
		{1051, Count, "1,051"},
		{2, Count, "2"},
		{1234567.8, PerSecond, "1,234,568/s"},
		{51.04, PerSecond, "51/s"},
		{0.537, Seconds, "0.54 s"},
		{99.96, Millis, "100 ms"},
		{-1234, MiB, "-1,234 MiB"},
	} {
		if got := Amount(c.value, c.unit); got != c.want {
			t.Errorf("amount(%v, %q) = %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	r := &Result{}
	r.Add("exactly at most", 100, Count).AtMost(100)
	r.Add("too many", 101, Count).AtMost(100)
	r.Add("exactly at least", 1000, PerSecond).AtLeast(1000)
	r.Add("too slow", 999, PerSecond).AtLeast(1000)
	r.Add("nothing promised", 5, Count)
	var missed []string
	for _, f := range r.Missed() {
		missed = append(missed, f.Name)
	}
	if diff := cmp.Diff([]string{"too many", "too slow"}, missed); diff != "" {
		t.Errorf("missed targets (-want +got):\n%s", diff)
	}
}

func sample() *Result {
	r := &Result{
		ID: "small", Title: "Small", Time: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC),
		Machine: Machine{Cores: 2, CPU: "X", Memory: 8 << 30, Kernel: "6.1.0-44-amd64", Load: 3, OVN: "23.03.1"},
	}
	r.Add("transactions", 3, Count).AtMost(100).Ref("2,021")
	r.Add("rate", 1500, PerSecond)
	return r
}

func TestMarkdownLeavesOutEmptyColumns(t *testing.T) {
	want := `### Small

Measured 2030-01-02 03:04 on 2 cores (X), 8 GiB memory, Linux 6.1, OVN 23.03.1.

| Figure | Measured | Target |  | OVN-Kubernetes |
| --- | --- | --- | --- | --- |
| transactions | 3 | ≤ 100 | met | 2,021 |
| rate | 1,500/s |  |  |  |
`
	got := sample().Markdown()
	// The verdict's column has a value and no name, so it stays.
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Markdown (-want +got):\n%s", diff)
	}
}

func TestUpdateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, []byte("# Intro\n\n<!-- bench:new -->\n\nOutro\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	first := sample()
	other := sample()
	other.ID, other.Title = "other", "Other"
	second := sample()
	second.Figures = second.Figures[:1]
	second.Figures[0].Value = 4
	for _, r := range []*Result{first, other, second} {
		if err := UpdateFile(path, r); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, c := range []struct {
		part string
		want int
	}{
		{"# Intro\n", 1}, {"Outro\n", 1}, {"### Small\n", 1}, {"### Other\n", 1},
		{"| transactions | 4 |", 1}, {"| transactions | 3 |", 1}, {"| rate |", 1},
		{"<!-- bench:new -->", 1},
	} {
		if got := strings.Count(text, c.part); got != c.want {
			t.Errorf("%q is %d times in the document, want %d:\n%s", c.part, got, c.want, text)
		}
	}
}

func TestUpdateFileRefusesToGuess(t *testing.T) {
	for name, text := range map[string]string{
		"no place":     "# Intro\n",
		"end is gone":  "<!-- bench:begin small -->\nold\n",
		"ends of both": "<!-- bench:end small -->\n<!-- bench:begin small -->\n",
	} {
		path := filepath.Join(t.TempDir(), "performance.md")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := UpdateFile(path, sample()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("%s: the document was changed to %q", name, got)
		}
	}
}
