package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// tagged writes a CEL value as JSON that tells its type: {"int": "4"}, {"list": [..]}, {"map": [[key, value], ..]}
// sorted by key. 64-bit integers are strings, so that no reader rounds them.
func tagged(value ref.Val) any {
	tag := func(name string, content any) any { return map[string]any{name: content} }
	switch v := value.(type) {
	case types.Null:
		return tag("null", true)
	case types.Bool:
		return tag("bool", bool(v))
	case types.Int:
		return tag("int", strconv.FormatInt(int64(v), 10))
	case types.Uint:
		return tag("uint", strconv.FormatUint(uint64(v), 10))
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return tag("double", strconv.FormatFloat(f, 'g', -1, 64))
		}
		return tag("double", float64(v))
	case types.String:
		return tag("string", string(v))
	case types.Bytes:
		return tag("bytes", base64.StdEncoding.EncodeToString(v))
	case types.Timestamp:
		return tag("timestamp", v.Time.UTC().Format("2006-01-02T15:04:05.999999999Z07:00"))
	case types.Duration:
		return tag("duration", strconv.FormatInt(int64(v.Duration), 10))
	case *types.Type:
		return tag("type", v.TypeName())
	case *types.Optional:
		if !v.HasValue() {
			return tag("optional", nil)
		}
		return tag("optional", tagged(v.GetValue()))
	case *types.Err:
		return tag("error", v.Error())
	case apiservercel.URL:
		return tag("url", v.String())
	case apiservercel.IP:
		return tag("ip", v.Addr.String())
	case apiservercel.CIDR:
		return tag("cidr", v.Prefix.String())
	case apiservercel.Quantity:
		return tag("quantity", true)
	case *apiservercel.Quantity:
		return tag("quantity", true)
	case apiservercel.Semver:
		return tag("semver", v.Version.String())
	case apiservercel.Format:
		return tag("format", v.Name)
	case traits.Lister:
		list := []any{}
		for i := types.Int(0); i < v.Size().(types.Int); i++ {
			list = append(list, tagged(v.Get(i)))
		}
		return tag("list", list)
	case traits.Mapper:
		if v.Type().TypeName() != "map" {
			return tag("object", v.Type().TypeName())
		}
		return tag("map", entries(v))
	default:
		return tag("other", fmt.Sprintf("%T", value))
	}
}

// entries takes the values from the iterator's own keys, past the unescaping that a lookup would do.
func entries(m traits.Mapper) [][2]any {
	rows := [][2]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		value, _ := m.Find(key)
		if value == nil {
			value = types.NewErr("unreachable")
		}
		rows = append(rows, [2]any{tagged(key), tagged(value)})
	}
	sort.Slice(rows, func(i, j int) bool {
		a, _ := json.Marshal(rows[i][0])
		b, _ := json.Marshal(rows[j][0])
		return string(a) < string(b)
	})
	return rows
}
