"""Expressions in CEL: texts whose value is told, and conditions that fail."""

from __future__ import annotations

from tests.sandbox.simulator.observed.good_objects import Json

VALUES = [
    "'a'+'b'",
    "string(1+2*3)",
    "string(7/2)+string(-7/2)+string(-7%3)",
    "string(1.5)",
    "string(true)",
    "string(1u)",
    "'%s %d %f %e %x %X %o %b'.format(['x',3,1.5,1234.5,255,255,8,5])",
    "'%s'.format([[1,'a',2.5,true,null]])",
    "'%s'.format([{'b':1,'a':'x'}])",
    "'%.2f'.format([3.14159])",
    "'%s'.format([duration('1h30m')])",
    "'%s'.format([timestamp('2020-01-02T03:04:05.5Z')])",
    "string(duration('1.5s'))",
    "string(timestamp('2020-01-02T03:04:05+01:00'))",
    "string('hello'.charAt(4))+'|'+'hello'.charAt(5)",
    "string('hello mellow'.indexOf('ello',2))",
    "string('hello mellow'.lastIndexOf('ello',6))",
    "['a','b'].join('-')",
    "'a,b,c'.split(',',2).join('|')",
    "'abc'.split('').join('|')",
    "'hello hello'.replace('he','we',1)",
    "'hello'.replace('','_')",
    "'tacocat'.substring(0,4)",
    "' x '.trim()",
    "'TacoCÆt'.lowerAscii()",
    "strings.quote('a\"b\\n')",
    "'abc 123'.find('[0-9]+')",
    "'1 2 3'.findAll('[0-9]',2).join(',')",
    "string(size('äöü'))+string(size([1,2]))+string(size({'a':1}))",
    "string([3,1,2].min())+string([3,1,2].max())+string([3,1,2].sum())",
    "string([1,2,2].indexOf(2))+string([1,2,2].lastIndexOf(2))",
    "string([1,2].isSorted())",
    "string([1,1,2].distinct().size())",
    "lists.range(4).map(i,string(i)).join('')",
    "[3,1,2].sort().map(i,string(i)).join('')",
    "[1,2,3,4].slice(1,3).map(x,string(x)).join('')",
    "['b','a'].sortBy(e,e).join('')",
    "string(sets.contains([1,2],[2]))+string(sets.equivalent([1,2],[2,1]))+string(sets.intersects([1],[2]))",
    "string(quantity('1Gi').compareTo(quantity('1M')))",
    "string(quantity('50k').add(20).asInteger())",
    "string(quantity('1.5').isInteger())",
    "string(quantity('1500m').asApproximateFloat())",
    "string(isQuantity('200K'))",
    "string(ip('1.2.3.4').family())",
    "string(ip('FE80::1'))",
    "string(ip.isCanonical('2001:DB8::1'))",
    "string(isIP('1.2.3.256'))",
    "string(cidr('10.0.0.0/8').containsIP('10.1.1.1'))",
    "string(cidr('10.0.0.1/8').masked())",
    "string(cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16'))",
    "string(cidr('10.0.0.0/8').prefixLength())",
    "string(ip('224.0.0.1').isLinkLocalMulticast())+string(ip('8.8.8.8').isGlobalUnicast())+string(ip('127.0.0.1').isLoopback())",
    "url('https://u:p@example.com:80/a b?k1=a&k2=b&k2=c').getEscapedPath()",
    "url('https://[::1]:80/').getHostname()+'|'+url('https://[::1]:80/').getHost()+'|'+url('https://x:80/').getPort()",
    "string(isURL('../x'))",
    "url('https://e.com/p?k=a&k=b').getQuery()['k'].join(',')",
    "string(semver('1.2.3').isLessThan(semver('1.10.0')))",
    "string(semver('v1.0',true).minor())",
    "string(isSemver('v1.0'))",
    "format.dns1123Label().validate('A').value()[0]",
    "string(format.named('uuid').hasValue())",
    "string(format.uri().validate('http://x').hasValue())",
    "string(duration('1h30m15s').getHours())+string(duration('1h30m15s').getMinutes())+string(duration('1h30m15s').getSeconds())",
    "string(timestamp('2020-02-29T23:59:59Z').getDayOfWeek())+string(timestamp('2020-02-29T23:59:59Z').getDayOfYear())+string(timestamp('2020-02-29T23:59:59Z').getMonth())+string(timestamp('2020-02-29T23:59:59Z').getDate())",
    "string(timestamp('2020-01-01T00:00:00Z').getHours('America/New_York'))",
    "string(timestamp('2020-01-01T00:00:00Z').getHours('+05:30'))",
    "string(timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z'))",
    "string(timestamp('2020-01-01T00:00:00Z') + duration('36h'))",
    "[1,2,3].map(x,x>1,string(x)).join('')",
    "{'a':1,'b':2}.transformList(k,v,k+string(v)).join('')",
    "{'a':1}.transformMap(k,v,v+1)['a'] == 2 ? 'y':'n'",
    "[1,2].exists_one(x,x==1) ? 'y':'n'",
    "[1,2].existsOne(i,v,v==1) ? 'y':'n'",
    "optional.of(1).optMap(x,string(x)).orValue('z')",
    "optional.none().orValue('z')",
    "{'a':'q'}.?b.orValue('z')",
    "{'a':'q'}[?'a'].orValue('z')",
    "[1,2][?5].hasValue() ? 'y':'n'",
    "{?'a':optional.none()}.size() == 0 ? 'y':'n'",
    "dyn(1) == 1.0 ? 'y':'n'",
    "1 in [1,2] && !('c' in {'a':1}) ? 'y':'n'",
    "type(1) == int ? 'y':'n'",
    "string(int('42')+int(3.7))",
    "string(double('1.5')*2.0)",
    "string(b'abc')",
    "string(int(timestamp('1970-01-01T00:01:00Z')))",
    "true || (1/0 == 1) ? 'y':'n'",
    "(1/0 == 1) || true ? 'y':'n'",
    "'abc'.matches('^a') && matches('abc','c$') ? 'y':'n'",
    "'a' < 'b' && 1 < 2 && 1.5 > 1.0 ? 'y':'n'",
    "string(1.0)+string(1e20)+string(1e-7)+string(100000.0)",
    "string(2.5e10)",
    "'\\u00e4\\x41\\101'",
    "r'a\\n'",
    "'''a'b'''",
    "string(0x1F)",
    "string(1 - -1)",
    "string(-(-3))",
    "string(bool('true'))",
    "string(uint(3))",
]
ERRORS = [
    "1/0 == 1",
    "1%0 == 1",
    "[1][5] == 1",
    "{'a':1}['b'] == 1",
    "9223372036854775807 + 1 == 1",
    "-9223372036854775807 - 2 == 1",
    "'abc'.substring(2,1) == ''",
    "'abc'.substring(9) == ''",
    "'abc'.charAt(-1) == ''",
    "'abc'.charAt(9) == ''",
    "[].min() == 1",
    "quantity('x') == quantity('1')",
    "quantity('1.5').asInteger() == 1",
    "ip('x') == ip('x')",
    "cidr('x') == cidr('x')",
    "url('../x') == url('x')",
    "semver('x') == semver('x')",
    "optional.none().value() == 1",
    "[1,2].slice(1,9) == []",
    "1u - 2u == 1u",
    "timestamp('2020-01-01T00:00:00Z').getHours('Foo') == 1",
    "dyn('a') > dyn(1)",
    "dyn(1) + dyn('a') == 1",
    "dyn([1]).foo == 1",
    "[1,2,3].all(x, x/(x-2) > 0)",
    "[1,2].exists(x, x/0 == 1)",
    "{'a':1}.b == 2",
    "lists.range(3)[7] == 1",
]


def field(rule: str) -> Json:
    """Return the schema of a text with one rule."""
    return {"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": rule}]}


def schema(fields: Json) -> Json:
    """Return the schema of a resource whose spec has some fields."""
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}


def definition(singular: str, fields: Json) -> Json:
    """Return the definition of such a resource."""
    names = {"plural": f"{singular}s", "singular": singular, "kind": singular.capitalize()}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema(fields)}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.observed.example.com"},
        "spec": {"group": "observed.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def resource(definition: Json, spec: Json) -> Json:
    """Return an object of a definition."""
    kind = definition["spec"]["names"]["kind"]
    return {"apiVersion": "observed.example.com/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
