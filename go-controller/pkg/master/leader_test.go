package master

import (
	"context"
	"errors"
	"testing"
)

// claims answers one claim after the other.
type claims []func(ctx context.Context) error

func (c *claims) Claim(ctx context.Context) error {
	answer := (*c)[0]
	*c = (*c)[1:]
	return answer(ctx)
}

func TestRecordIsClaimedWhileTheLeaseIsHeld(t *testing.T) {
	fenced := errors.New("fenced")
	lost := errors.New("the Lease is not held")
	var lose context.CancelFunc
	held := func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, lose = context.WithCancel(ctx)
		return ctx, lose, nil
	}
	suspended := func(ctx context.Context) error { lose(); return ctx.Err() }
	for _, test := range []struct {
		name      string
		whileHeld permission
		claims    claims
		want      error
	}{
		{"at once", held, claims{func(context.Context) error { return nil }}, nil},
		{"somebody else was first", held, claims{func(context.Context) error { return fenced }}, fenced},
		{"suspended meanwhile", held, claims{suspended, suspended, func(ctx context.Context) error { return ctx.Err() }}, nil},
		{"never held", func(context.Context) (context.Context, context.CancelFunc, error) { return nil, nil, lost }, claims{}, lost},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := claim(t.Context(), &test.claims, test.whileHeld); !errors.Is(err, test.want) {
				t.Errorf("err = %v, want %v", err, test.want)
			}
			if len(test.claims) > 0 {
				t.Errorf("not claimed again %d times", len(test.claims))
			}
		})
	}
	t.Run("the work ends", func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		once := claims{func(ctx context.Context) error { end(); return ctx.Err() }}
		if err := claim(ctx, &once, held); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want %v", err, context.Canceled)
		}
	})
}
