/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/control/acme/vectors.h - a key and what another implementation (Python's cryptography)
 * signs with it.
 * Thread: any.   Owns: nothing.   Never: used outside tests; this key protects nothing. */
#pragma once

/* clang-format off */
static const char rsa_key[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIEpAIBAAKCAQEA2yjGc+7ramObC+vGsX1/mMP+lZa0rDQpCU/R4LFPptsF2WSf\n"
    "1cgL4ZRZsVnzgUAjy8tAk2EpsdW+vHJrAtlWXlHm/5FJEGe4HYw1km7pU+PzLA5A\n"
    "RbbeCX53EN2GOgoX0nkWPnyq3kPRD0x7d4aDmM9y7jX8lp4m09c/E1dTUFi5NGR8\n"
    "2ztiHnQPJmbpH7ZdxSZ2tk6EYvjzRxhc2w5dzqZshTzoLf66W+35ICIJh8jI3WZr\n"
    "wNfjgop/9RkLO7OMVpIxIFrK3Mo4kzlIhKS28tKreb+2SdkMSdJYGVbfBCNbl8SQ\n"
    "pNQC6rdgWCuI1JP7dDOp4Xbt2p6Wzq3DbYBeXQIDAQABAoIBAEE4g8K5rf6V0Oz9\n"
    "yD5G8mOUpF2BIZiD11iJlBSRv/oQgU+eZgC5jWue+ghRFCn5XA3ImZmil0Vwrlgn\n"
    "ltgctNrR9fRFmOBUdZL5iHHhJvgLxPDt9suobbCWnbl7q3f3S/qbhXaoJDOMLBmo\n"
    "8a9y7RPbXMEueNKcE0ME8iT/3m/wwoTRVTESqBy+cay+VXiMUfzidAFcb3LFVpMM\n"
    "MrvHGhJifR+4kTF+VUjA5cgPoN4Si+wQ8orguQUzVhX4jthaPdNl/EsOftrDFaU7\n"
    "AGE2zQAeVR5+rwe9b+OqtRJ3FnaIf2ySX6UCxrkGBobB0NgFycwaahJDFU3PY9DO\n"
    "A2teNYMCgYEA7qwHlfsYRgwiYtAFxqia7+CZd8MvzP/tSkBb0g3GmtvCsqLhvZMF\n"
    "d2lNRNM5lwZPc4HSLYDsgywWzp2s2BLORLLtqGxM1xZK/+iEFqdTgH+k7gHlEP8X\n"
    "qJO4bemk/qdzYUmd9W8WfG2/lAu/c0rya9Q6bsqtUmKto5PIO4uIB9MCgYEA6xIU\n"
    "zSt36CJF1AOvvGgiH3uak3bsieqPQxX94QTy/yucs7gHgN4eXVlp9LdQWjoTuEDC\n"
    "E8N7n8oAKxsgjthQnTfKQwEolEZeqfVdnh+qgUm6vCADDaMPXKX0hc3aR1o6EZ2p\n"
    "zYkzu9I0NzYfmuRNf7fBO9Cv2NH0q23aeCV30w8CgYEA0lIWfTxAL7oRszHNZTq/\n"
    "DhPGKZt/TA9bc8szHu+0zFJMSE7wzrX4YzoQNU5NuaB98zO7mw25Xf5EOt8HqYEo\n"
    "87EZbQnCzOeAP/MOM0hQdTQGixZwXYHtv0gthe4Wz7GQI3NUFyxFjHDKGhQgKeEp\n"
    "r4vd0jQYeDks+rEICjDzNrECgYEA50pEI1doxIOsVx5FdEi1gmqYvg2eUVj0Gtrx\n"
    "kMzQ1tcvePlSkK58C/dlNH6F1jEcpAc7rjyCT8dugPtQ/pvCPd7d6S2jorjWfb3J\n"
    "nkKj/k/wJxgMSQeunsc/H8RayCfzyM9reqtLtrrt24Eqebm2szq3K0Z7LwfuCBqv\n"
    "gdXD32sCgYApgspXTQ/9v8/b7aHiItywOyEJr65zeqnPlT4G6F6x11s9tYIA7M1Z\n"
    "kdxDKyLT7qKVQHHJDh/T3YMWWpHhJ1WG+HdVxN9A00BYTGzPqnwZBvG6akcIqq/H\n"
    "CYIfNReXsWF7NT+rcesh+kfD22KDk3Ttfv+oZ+VR5wyzUnybncIjUg==\n"
    "-----END RSA PRIVATE KEY-----\n";
static const char signed_with_kid[] =
    "{\"protected\":\"eyJhbGciOiJSUzI1NiIsImtpZCI6Imh0dHBzOi8vY2EudGVzdC9hY2N0LzEiLCJub25jZS"
    "I6Im5vbmNlLTEiLCJ1cmwiOiJodHRwczovL2NhLnRlc3QvbmV3LW9yZGVyIn0\",\"payload\":\"eyJpZGVudG"
    "lmaWVycyI6W3sidHlwZSI6ImRucyIsInZhbHVlIjoiYS50ZXN0In1dfQ\",\"signature\":\"KtZIru3msmmyv"
    "QB5FPoUSOkRbXhHFDxq2pD9pzqdlJOHE_KHxAZftfyuJ6qzBzdv2CCvMMfFG7R-JcnN9ZdIdkm8N28Bux6Oz"
    "Q8-PX61RZ4KtlKxWA1yp7wfGoczpSFZTvE8OqST_eUh18D1kcjZ_ksPgPjOOlIxIhwKZvebhwJfSNrtM4P2K"
    "zUtlzwOYLmSLqIhh_481E9zX77vMpFEozB7ubh4-6hTJgNgO4mf4ci8Qp0Qt94kme-wmcsoQhGrkQ__kTILM"
    "XnVBBpFbT_B5QwKvxEJx0xaunyp0u2qrF-UUx9UJKb5Viqgg1juJpxycmwwaahbhdtwa9bLbOVmMg\"}";
static const char signed_with_jwk[] =
    "{\"protected\":\"eyJhbGciOiJSUzI1NiIsImp3ayI6eyJlIjoiQVFBQiIsImt0eSI6IlJTQSIsIm4iOiIyeW"
    "pHYy03cmFtT2JDLXZHc1gxX21NUC1sWmEwckRRcENVX1I0TEZQcHRzRjJXU2YxY2dMNFpSWnNWbnpnVUFqeT"
    "h0QWsyRXBzZFctdkhKckF0bFdYbEhtXzVGSkVHZTRIWXcxa203cFUtUHpMQTVBUmJiZUNYNTNFTjJHT2dvWD"
    "Bua1dQbnlxM2tQUkQweDdkNGFEbU05eTdqWDhscDRtMDljX0UxZFRVRmk1TkdSODJ6dGlIblFQSm1icEg3Wm"
    "R4U1oydGs2RVl2anpSeGhjMnc1ZHpxWnNoVHpvTGY2NlctMzVJQ0lKaDhqSTNXWnJ3TmZqZ29wXzlSa0xPN0"
    "9NVnBJeElGckszTW80a3psSWhLUzI4dEtyZWItMlNka01TZEpZR1ZiZkJDTmJsOFNRcE5RQzZyZGdXQ3VJMU"
    "pQN2RET3A0WGJ0MnA2V3pxM0RiWUJlWFEifSwibm9uY2UiOiJub25jZS0yIiwidXJsIjoiaHR0cHM6Ly9jYS"
    "50ZXN0L25ldy1hY2NvdW50In0\",\"payload\":\"\",\"signature\":\"d16Po0WkSRpTw4WM-itdz_g28tQKqEs"
    "luDRlV-9sZR94619umcE477-9WcgFqCixnowd0D7KmXmGX74Bsdx0hRcc52-aQRl0ythGG8gqQXzinOLptat"
    "xwdZ_NKtXu1U7Fl05mCv5LCCLxxL2KBWQQK7F8INQN1YpT66wF3L1SNSdGCGvK8wPYZBeWQczOoxWJLIXVl3"
    "BP39XYkPXOiR-1q0rfNAtb6TGmsCNXodJM2pGs2BCUx9iR5tkqGtEBEcMtaiEys4qofzBolDzCogs0ZfYNjr"
    "Qni_di_Bdh67VeeRzG7sbJ3VczcuOPg9B8hZ20_eGrsSKSs5WLi1UUf750A\"}";
static const char bound[] =
    "{\"protected\":\"eyJhbGciOiJIUzI1NiIsImtpZCI6ImtpZC0xIiwidXJsIjoiaHR0cHM6Ly9jYS50ZXN0L2"
    "5ldy1hY2NvdW50In0\",\"payload\":\"eyJlIjoiQVFBQiIsImt0eSI6IlJTQSIsIm4iOiIyeWpHYy03cmFtT2"
    "JDLXZHc1gxX21NUC1sWmEwckRRcENVX1I0TEZQcHRzRjJXU2YxY2dMNFpSWnNWbnpnVUFqeTh0QWsyRXBzZF"
    "ctdkhKckF0bFdYbEhtXzVGSkVHZTRIWXcxa203cFUtUHpMQTVBUmJiZUNYNTNFTjJHT2dvWDBua1dQbnlxM2"
    "tQUkQweDdkNGFEbU05eTdqWDhscDRtMDljX0UxZFRVRmk1TkdSODJ6dGlIblFQSm1icEg3WmR4U1oydGs2RV"
    "l2anpSeGhjMnc1ZHpxWnNoVHpvTGY2NlctMzVJQ0lKaDhqSTNXWnJ3TmZqZ29wXzlSa0xPN09NVnBJeElGck"
    "szTW80a3psSWhLUzI4dEtyZWItMlNka01TZEpZR1ZiZkJDTmJsOFNRcE5RQzZyZGdXQ3VJMUpQN2RET3A0WG"
    "J0MnA2V3pxM0RiWUJlWFEifQ\",\"signature\":\"36I0Gmplg5YIjF9U3eIRSXcqRG7F-UyxvFAyCbPJdZA\"}";
static const char thumbprint[] =
    "iLkO2HhuRew78mlsjLG_pvIWqWJr18UU-zptblzwgUA";
#define MAC "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
/* clang-format on */
