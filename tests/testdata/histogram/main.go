// Writes what Prometheus 3 says about random native histograms: prometheus.tsv beside this file.
//
// Run it in a module that requires github.com/prometheus/prometheus v0.316.0:
//
//	go run main.go > prometheus.tsv
//
// Lines, tab-separated:
//
//	valid   <message> <yes|no>                          what Validate says of a message
//	pair    <earlier> <later> <reset|grew> <count> then lower, upper, number of observations between, ...
//
// Messages are hex of io.prometheus.write.v2.Histogram. The observations are those of the later histogram
// after a reset, else of the difference. As within a query over all of a series' life, the zero bucket
// is one-sided if the later histogram is.
package main

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

var random = rand.New(rand.NewSource(42))

type side map[int32]float64

type plain struct {
	schema             int32
	bounds             []float64
	threshold, zero    float64
	negative, positive side
	nans               float64
	float              bool
}

func (s side) clone() side {
	c := side{}
	for i, n := range s {
		c[i] = n
	}
	return c
}

func (s side) coarser(by int32) side {
	c := side{}
	for i, n := range s {
		c[((i-1)>>by)+1] += n
	}
	return c
}

func (s side) spans(withEmpty bool) ([]histogram.Span, []float64) {
	var indexes []int32
	for i := range s {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	var spans []histogram.Span
	var counts []float64
	next := int32(0)
	for n, i := range indexes {
		if n > 0 && i == next {
			spans[len(spans)-1].Length++
		} else if n > 0 && withEmpty && i == next+1 {
			counts = append(counts, 0)
			spans[len(spans)-1].Length += 2
		} else {
			spans = append(spans, histogram.Span{Offset: i - next, Length: 1})
		}
		counts = append(counts, s[i])
		next = i + 1
	}
	return spans, counts
}

func (p plain) histogram() *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{Schema: p.schema, ZeroThreshold: p.threshold, ZeroCount: p.zero, CustomValues: p.bounds}
	h.NegativeSpans, h.NegativeBuckets = p.negative.spans(true)
	h.PositiveSpans, h.PositiveBuckets = p.positive.spans(true)
	h.Count = p.zero + p.nans
	for _, n := range append(slices.Clone(h.NegativeBuckets), h.PositiveBuckets...) {
		h.Count += n
	}
	h.Sum = float64(random.Intn(1000))
	if p.nans > 0 {
		h.Sum = math.NaN()
	}
	return h
}

func (p plain) message() string {
	h := p.histogram()
	var m writev2.Histogram
	if p.float {
		m = writev2.FromFloatHistogram(0, 1, h)
	} else {
		deltas := func(counts []float64) (d []int64) {
			last := int64(0)
			for _, n := range counts {
				d = append(d, int64(n)-last)
				last = int64(n)
			}
			return d
		}
		m = writev2.FromIntHistogram(0, 1, &histogram.Histogram{
			Schema: h.Schema, ZeroThreshold: h.ZeroThreshold, ZeroCount: uint64(h.ZeroCount), Count: uint64(h.Count), Sum: h.Sum,
			PositiveSpans: h.PositiveSpans, NegativeSpans: h.NegativeSpans,
			PositiveBuckets: deltas(h.PositiveBuckets), NegativeBuckets: deltas(h.NegativeBuckets), CustomValues: h.CustomValues,
		})
	}
	return encode(m)
}

func encode(m writev2.Histogram) string {
	bytes, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}

func randomSide(most int) side {
	s := side{}
	start := int32(random.Intn(9) - 4)
	for range random.Intn(most) {
		start += int32(1 + random.Intn(3))
		s[start] = float64(1 + random.Intn(20))
	}
	return s
}

func randomBounds() (bounds []float64) {
	at := []float64{-2, 0, 0.25, 1}[random.Intn(4)]
	for range random.Intn(6) {
		bounds = append(bounds, at)
		at += float64(1+random.Intn(4)) / 4
	}
	return bounds
}

func randomPlain() plain {
	p := plain{negative: side{}, positive: side{}, float: random.Intn(5) == 0}
	if random.Intn(3) == 0 {
		p.schema = histogram.CustomBucketsSchema
		p.bounds = randomBounds()
		for i := range len(p.bounds) + 1 {
			if random.Intn(3) > 0 {
				p.positive[int32(i)] = float64(1 + random.Intn(20))
			}
		}
	} else {
		p.schema = int32(random.Intn(13) - 4)
		p.positive = randomSide(8)
		if random.Intn(3) == 0 {
			p.negative = randomSide(5)
		}
		p.threshold = []float64{0, 1e-128, 0.001, 0.125}[random.Intn(4)]
		p.zero = float64(random.Intn(3) * random.Intn(10))
		p.swallow()
	}
	if random.Intn(6) == 0 {
		p.nans = float64(1 + random.Intn(5))
	}
	return p
}

func (p plain) later() plain {
	q := p
	q.positive, q.negative = p.positive.clone(), p.negative.clone()
	for range 1 + random.Intn(6) {
		i := int32(random.Intn(14) - 4)
		if p.bounds != nil || p.schema == histogram.CustomBucketsSchema {
			i = int32(random.Intn(len(p.bounds) + 1))
		}
		q.positive[i] += float64(random.Intn(10))
	}
	if p.schema != histogram.CustomBucketsSchema {
		q.zero += float64(random.Intn(4))
	}
	if len(q.negative) > 0 && random.Intn(2) == 0 {
		for i := range q.negative {
			q.negative[i] += 2
		}
	}
	if q.schema != histogram.CustomBucketsSchema {
		q.swallow()
	}
	switch random.Intn(10) {
	case 0, 9: // lost observations
		lowest := int32(math.MaxInt32)
		for i := range q.positive {
			lowest = min(lowest, i)
		}
		q.positive[lowest] = float64(int(q.positive[lowest] / 2))
	case 1: // finer
		if q.schema >= -4 && q.schema < 8 {
			q.schema++
		}
	case 2, 3: // coarser
		if q.schema > -4 {
			by := int32(1 + random.Intn(2))
			if q.schema-by < -4 {
				by = 1
			}
			q.positive, q.negative = q.positive.coarser(by), q.negative.coarser(by)
			q.schema -= by
		}
	case 4, 5: // wider zero bucket
		if q.schema >= -4 {
			wider := []float64{0.25, 0.5, 1, 0.3}[random.Intn(4)]
			if wider > q.threshold {
				q.threshold = wider
				q.swallow()
			}
		}
	case 6: // other bounds
		if q.schema == histogram.CustomBucketsSchema && len(q.bounds) > 1 {
			gone := random.Intn(len(q.bounds))
			merged := side{}
			for i, n := range q.positive {
				if int(i) > gone {
					i--
				}
				merged[i] += n
			}
			q.positive = merged
			q.bounds = slices.Delete(slices.Clone(q.bounds), gone, gone+1)
		}
	}
	return q
}

// Everything inside of the zero bucket belongs to it.
func (p *plain) swallow() {
	for _, s := range []side{p.negative, p.positive} {
		for i := range s {
			if bound(i, p.schema) <= p.threshold {
				p.zero += s[i]
				delete(s, i)
			}
		}
	}
}

func bound(i, schema int32) float64 {
	return math.Exp2(float64(i) / math.Exp2(float64(schema)))
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func pair() {
	earlier := randomPlain()
	later := earlier.later()
	a, b := earlier.histogram(), later.histogram()
	reset := b.DetectReset(a)
	verdict, d := "reset", b.Copy()
	if !reset {
		verdict = "grew"
		if _, _, _, err := d.Sub(a); err != nil {
			panic(err)
		}
		if later.nans > 0 {
			d.Sum = math.NaN()
		}
	}
	d.Compact(0)
	if !reset {
		whole := b.Copy().Compact(0)
		if len(whole.PositiveBuckets) > 0 && len(d.PositiveBuckets) == 0 {
			d.PositiveSpans, d.PositiveBuckets = []histogram.Span{{Offset: 0, Length: 1}}, []float64{0}
		}
		if len(whole.NegativeBuckets) > 0 && len(d.NegativeBuckets) == 0 {
			d.NegativeSpans, d.NegativeBuckets = []histogram.Span{{Offset: 0, Length: 1}}, []float64{0}
		}
	}
	fmt.Printf("pair\t%s\t%s\t%s\t%s", earlier.message(), later.message(), verdict, number(d.Count))
	points := []float64{math.Inf(-1), -1.5, -0.3, -0.1, 0, 0.001, 0.0005, 0.1, 0.3, 1, 1.7, 2, 100, math.Inf(1)}
	for range 6 {
		l, u := points[random.Intn(len(points))], points[random.Intn(len(points))]
		if l > u {
			l, u = u, l
		}
		within := 0.0
		if d.Count > 0 {
			fraction, _ := promql.HistogramFraction(l, u, d, "", posrange.PositionRange{})
			within = fraction * d.Count
		}
		fmt.Printf("\t%s\t%s\t%s", number(l), number(u), number(within))
	}
	fmt.Println()
}

func valid() {
	p := randomPlain()
	p.float = false
	bytes, _ := hex.DecodeString(p.message())
	var m writev2.Histogram
	if err := m.Unmarshal(bytes); err != nil {
		panic(err)
	}
	switch random.Intn(12) {
	case 0:
		m.Schema = []int32{-5, 53, -54, 9, 52, -53, 0, 100}[random.Intn(8)]
	case 1:
		m.Count = &writev2.Histogram_CountInt{CountInt: m.GetCountInt() + 1}
	case 2:
		if len(m.PositiveSpans) > 0 {
			m.PositiveSpans[random.Intn(len(m.PositiveSpans))].Length++
		}
	case 3:
		if len(m.PositiveSpans) > 0 {
			m.PositiveSpans[len(m.PositiveSpans)-1].Offset = []int32{-1, -2147483648, 2147483647, 7}[random.Intn(4)]
		}
	case 4:
		if len(m.PositiveDeltas) > 0 {
			m.PositiveDeltas[0] = -1
		}
	case 5:
		m.CustomValues = append(m.CustomValues, []float64{math.NaN(), math.Inf(1), 0, 1000}[random.Intn(4)])
	case 6:
		m.ZeroCount = &writev2.Histogram_ZeroCountInt{ZeroCountInt: 1}
	case 7:
		m.ZeroThreshold = 0.5
	case 8:
		m.NegativeSpans = append(m.NegativeSpans, writev2.BucketSpan{Offset: 1, Length: 0})
	}
	verdict := "yes"
	message := encode(m)
	h := m.ToIntHistogram()
	if histogram.IsExponentialSchemaReserved(h.Schema) && h.Schema > histogram.ExponentialSchemaMax {
		if h.ReduceResolution(histogram.ExponentialSchemaMax) != nil {
			verdict = "no"
		}
	}
	if verdict == "yes" && h.Validate() != nil {
		verdict = "no"
	}
	fmt.Printf("valid\t%s\t%s\n", message, verdict)
}

func main() {
	for range 150 {
		pair()
	}
	for range 80 {
		valid()
	}
}
