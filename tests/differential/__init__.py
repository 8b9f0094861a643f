"""The simulator held to a real kube-apiserver: random scripts of requests, replayed on both, must be answered alike.

`python -m tests.differential --operations 10000 --seed 7` runs it on demand; `test_differential.py` is what CI runs.

    operations   one request as a value, with references to what earlier answers said
    kinds        what the scripts are about: valid and invalid values of fields (see workloads, plain_kinds, widgets)
    generator    a seed in, a script out
    replay       a script on one server: answers, watch streams, final lists
    transcript   what may differ between any two servers (uids, times, versions), replaced by order of appearance
    runner       many scripts at a time, on both servers
    comparison   the first difference of two transcripts, less the allowed ones
    shrinking    the smallest script that still differs
"""
