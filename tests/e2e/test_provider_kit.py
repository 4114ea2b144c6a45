# SPDX-License-Identifier: Apache-2.0
"""Every provider, every fault of its service: see lib/providerkit.py."""

import pytest

from lib import aws, cloudflare, httpreq, providerkit

SUBJECTS = {"cloudflare": cloudflare.Subject, "httpreq": httpreq.Subject, "route53": aws.Subject}


@pytest.mark.parametrize("case", providerkit.CASES.all)
@pytest.mark.parametrize("code", SUBJECTS)
def test_provider(code, case):
    make = SUBJECTS[code]
    if case in make.lacks:
        pytest.skip(make.lacks[case])
    subject = make()
    try:
        providerkit.CASES.run(case, providerkit.World(subject))
    finally:
        subject.stop()
