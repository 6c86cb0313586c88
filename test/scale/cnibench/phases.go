package cnibench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/report"
)

// limits of one phase in milliseconds.
type limits struct {
	addP50, addP99, delP50 float64
	// floorFactor times the floor is allowed for addP50 where that is more.
	floorFactor float64
	ref         reference
}

// reference are OVN-Kubernetes' figures.
type reference struct{ addP50, addP99, runningP50, delP50 string }

// factor is how much more than the floor an ADD may take.
const factor = 1.3

func (b *bench) oneAtATime(ctx context.Context) error {
	if err := b.recorder.begin(); err != nil {
		return err
	}
	var spans []span
	for i := range b.Serial {
		name := fmt.Sprintf("one-%03d", i)
		s, err := b.pods.runAll(ctx, name, 1)
		if err != nil {
			return err
		}
		spans = append(spans, s...)
		if err := b.pods.remove(ctx, name, 1); err != nil {
			return err
		}
	}
	floor, err := measureFloor(ctx, b.Lab, node, b.Serial, false)
	if err != nil {
		return err
	}
	running, _ := latencies(spans)
	return b.report(ctx, "one at a time", running, floor, limits{
		addP50: 40, addP99: 70, delP50: 60,
		ref: reference{addP50: "77 ms", addP99: "99 ms", runningP50: "275 ms", delP50: "576 ms"},
	})
}

func (b *bench) allAtOnce(ctx context.Context) error {
	if err := b.recorder.begin(); err != nil {
		return err
	}
	var running []time.Duration
	var total floor
	for round := range b.Rounds {
		prefix := fmt.Sprintf("all-%d", round)
		spans, err := b.pods.runAll(ctx, prefix, b.AtOnce)
		if err != nil {
			return err
		}
		each, _ := latencies(spans)
		running = append(running, each...)
		if err := b.pods.remove(ctx, prefix, b.AtOnce); err != nil {
			return err
		}
		floor, err := measureFloor(ctx, b.Lab, node, b.AtOnce, true)
		if err != nil {
			return err
		}
		total.whole, total.port = append(total.whole, floor.whole...), append(total.port, floor.port...)
	}
	name := fmt.Sprintf("%d at once", b.AtOnce)
	whole, err := b.undisturbed(ctx)
	if err != nil {
		return err
	}
	b.Result.Add(name+": all Running", report.Percentile(whole, 50).Seconds(), report.Seconds).AtMost(8).Ref("12.0 s").
		Say("median of %d rounds without the recorder; slowest %.1f s", b.Rounds, report.Percentile(whole, 100).Seconds())
	return b.report(ctx, name, running, total, limits{
		addP50: 250, floorFactor: factor, delP50: 60, ref: reference{addP50: "865 ms", addP99: "1,472 ms"},
	})
}

// undisturbed returns how long it took until all ran, in each round, without the recorder.
func (b *bench) undisturbed(ctx context.Context) (whole []time.Duration, err error) {
	if err := b.recorder.suspend(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.recorder.resume()) }()
	for round := range b.Rounds {
		prefix := fmt.Sprintf("undisturbed-%d", round)
		spans, err := b.pods.runAll(ctx, prefix, b.AtOnce)
		if err != nil {
			return nil, err
		}
		_, all := latencies(spans)
		whole = append(whole, all)
		if err := b.pods.remove(ctx, prefix, b.AtOnce); err != nil {
			return nil, err
		}
	}
	return whole, nil
}

// report adds the figures of a phase in which len(running) pods came and went.
func (b *bench) report(ctx context.Context, name string, running []time.Duration, floor floor, l limits) error {
	add, err := b.recorder.wait(ctx, "ADD", len(running))
	if err != nil {
		return err
	}
	del, err := b.recorder.wait(ctx, "DEL", len(running))
	if err != nil {
		return err
	}
	floorP50 := report.InMillis(report.Percentile(floor.whole, 50))
	p50, p99 := b.Result.AddLatency(name+": CNI ADD", add)
	p50.AtMost(max(l.addP50, l.floorFactor*floorP50)).Ref(l.ref.addP50)
	p99.Ref(l.ref.addP99)
	if l.addP99 > 0 {
		p99.AtMost(l.addP99)
	}
	addP50 := p50.Value
	b.Result.AddLatency(name+": floor, logical port and OVS port", floor.whole)
	b.Result.AddLatency(name+": floor, OVS port alone", floor.port)
	b.Result.Add(name+": CNI ADD ÷ floor, p50", addP50/floorP50, report.Ratio).AtMost(factor)
	p50, _ = b.Result.AddLatency(name+": pod created → Running", running)
	p50.Ref(l.ref.runningP50)
	p50, _ = b.Result.AddLatency(name+": CNI DEL", del)
	p50.AtMost(l.delP50).Ref(l.ref.delP50)
	return nil
}
