/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/crypto/vectors.h - keys and certificates made once with the openssl command.
 * Thread: any.   Owns: nothing.   Never: used outside tests; these keys protect nothing. */
#pragma once

/* clang-format off */
#define PEM_EC256_PARAMETERS \
    "-----BEGIN EC PARAMETERS-----\n" \
    "BggqhkjOPQMBBw==\n" \
    "-----END EC PARAMETERS-----\n" \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MHcCAQEEII5iXOmJwti11Mt/R7YF0c8KIg/0Lkp88Pw49BqJCQauoAoGCCqGSM49\n" \
    "AwEHoUQDQgAE9sQoDTYE7I9kKqFQvTeDdo2gnGJRfd3bwJD3IwtsuHrNBmpVPg0Y\n" \
    "kWK42p2wLIcjKpOJhkN0Ug26N1GlHvKr0A==\n" \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_EC256_PKCS8 \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjmJc6YnC2LXUy39H\n" \
    "tgXRzwoiD/QuSnzw/Dj0GokJBq6hRANCAAT2xCgNNgTsj2QqoVC9N4N2jaCcYlF9\n" \
    "3dvAkPcjC2y4es0GalU+DRiRYrjanbAshyMqk4mGQ3RSDbo3UaUe8qvQ\n" \
    "-----END PRIVATE KEY-----\n"

#define PEM_EC384 \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MIGkAgEBBDAjo9qLXCv+nhF/nXfUlAHOumKoK3XFsrRihL8W7SS8b790Zo7Zlqcl\n" \
    "wqLt5JJAWD+gBwYFK4EEACKhZANiAASMYahyZEN06pkxiSoU5IejvimRTeo62aC2\n" \
    "5uvDWq3SCOAkzgwLDPp0vAj9n+Zmy/aMb4Pj25VfbdwiQu6d43U9QncXUvq1YB1r\n" \
    "7pdZEed7i8MHTlaxSbU4qtxB8jhbH/Y=\n" \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_EC521 \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MIHcAgEBBEIAffP9kUL5kQMpaN15knyp6Kp8khJWx0CMWE1ZnyqTNi8uU8j8owPl\n" \
    "N8KNX5trZRhVj04+ldlKQ6ImrvBt6HZ6gGOgBwYFK4EEACOhgYkDgYYABAE6IQ2b\n" \
    "IdS3N7xuFx8jW8gt7xG7HcbdqDwmgqz06tibhIuynFRUzrlCClqqZ0rc029Hg1z0\n" \
    "6PUVChJWtKsjqJBGsQDWZGgJi5kAxZy0gFE/lm9V2uyl4kIfCD+cEsUgXmMN6iA+\n" \
    "jC4GaghKchD9mwVgryhO+UTm5a0ScfgHdbWRdiO/uA==\n" \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_ED25519 \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MC4CAQAwBQYDK2VwBCIEINEwNoqgs48vBQnSZ8X4KcqoNBC45m0I6Atbtjzy/JED\n" \
    "-----END PRIVATE KEY-----\n"

#define PEM_RSA1024 \
    "-----BEGIN RSA PRIVATE KEY-----\n" \
    "MIICWwIBAAKBgQDbUBTf0jP9HO+ajtsZt1CxxzWbRroCVOavzRvlSmlCIK4z+Yq0\n" \
    "u2OrRNa1u6IIWaQVanP2ywaD6geAwmqbLCGOyPW3uveizUYzRwA4/KgAEW9BG5li\n" \
    "5g4T+Km5g4TYKzU5Ge6LxXCeIMmVn/VQtda+jjvESE5m2yUaGKBCfmjeewIDAQAB\n" \
    "AoGATQVKz3AbIgFPhJA3Ekj25fh4Mxgbq0X13jfCXDxNyxN/GnHA7MgCsNt0LE7B\n" \
    "EP2qSnsgTsPufdVq3SVqGyTcg4pEGfbSjNVzjpRgis+q2KgFP1EGQuCvkiI4+8ES\n" \
    "GiKGCIjWA6I1azXIfabfgtAQ1t61uVPtoCRH0vfExSrqRUECQQDzDeVkb5X1fgyr\n" \
    "WT7smzkuC/q2QMgUte5eY19XAIE86o8oX6cY+ccrsNXDrVYAD0jOri9hid/JvJu7\n" \
    "tyGEUUMNAkEA5v53AqkcU192sTIQZQ2pwmYhOIa+J7fcFXrI7uBmXLdGveBC/d7j\n" \
    "SkzD9fB936YajBITJd4FIjngKIDgYTplpwJAergvdJCqxLMKLpH3JXwSWN+PjOoU\n" \
    "m/BoFJxUDReiKWG9OoNhWUj0eWjl5dDlNU6CUmi8X6E/rxpd/1+tuqNVGQJAGUEG\n" \
    "x96vPxo3wsWjbzjgL2W1ChYJIhSC1kJXR253InnTHR0wlcrRdKUR44iIanQhgODV\n" \
    "ARXV39kN/b+hSF/3DwJAE23cNaJU900hlpBhEUWamPzdyILv92HV5//yMFfAWqFR\n" \
    "55xUv13C8sYYO7Cp79HDlIM1pan34mKGRASfOvt0gw==\n" \
    "-----END RSA PRIVATE KEY-----\n"

#define PEM_SECP256K1 \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MHQCAQEEIJ1Sbj5j++ZKP0C1pIpPj66F+5gPdYrLLqrC/pbzpoeVoAcGBSuBBAAK\n" \
    "oUQDQgAERfijq4kpp9Kp+ueOp7Oz5xASEhx7V7BLRL9yzKQgvFBPPLOaRsuUtoUz\n" \
    "EddwS/spu7Sy0gpnLqUBlogTkVScdw==\n" \
    "-----END EC PRIVATE KEY-----\n"

#define PEM_RSA2048 \
    "-----BEGIN RSA PRIVATE KEY-----\n" \
    "MIIEpAIBAAKCAQEAkz3SFRFQZZVuMEdDVw7mDW1rs0YZx5NgiH1Ob14SWxtyXFa6\n" \
    "blTmGCDM0nYeCyuxXcKkRi9V1keD7nwA0XNgghvoMQHh8tsoft1uRmF45FOWJFbU\n" \
    "dLnh8hw6gvQmHXY66nVy6r8nm2GroYyENM9FNhbd41dyMpPojyZOpsUqwySqvuJQ\n" \
    "tX3xDE1ihPiUDWp1G+ZKMlKZjR9z6RLDw2eMg2G51Uz9xsGgtaZ26QhaKUTxdSjc\n" \
    "z75nu4yYxRixyWwgsRIsUDncQIc1ieFQ060g1IQ+Sd6ELmueLfS8UNrvtBs9PaKw\n" \
    "NJrENHcm1AzA+bpXx8gdNGSA2/RnFFwL1wtybQIDAQABAoIBAAmNyCUVAh7brh8O\n" \
    "OkpaoLn1hAV8r1nwMCIeSPAxx5/twGMWPyaL9hoesFH/pAqctsROR6zeKWp4w92K\n" \
    "yKrOgVAv61/MSKyI/kmtDuWC/mS77IQTHKbH4OdKxmkoDZXfzaOk8ORWeIVwHI89\n" \
    "uBGNJjQdeIXl1Xax4WclPyxtb4B8T77cSI3tJsroRFb6zoNA7lRP49i2eOJTrrz+\n" \
    "yV3MBvQtx8bZS67oiweguvRqMiobSEBl73pZNKIQL4ZIET/hgqjWrgO6s9qfGVaN\n" \
    "HKrMJvlXiH0fgXucEqhoSbRjs15dO/3aLAROU6llicHmJnKHdkCGc5OMQzRcy8gA\n" \
    "aba7W2kCgYEAzku/DhbllQQ4/2S+wkfJXTfeFsFCtiHmRU07LG7zAG/dSRmQhSi1\n" \
    "AAn1A00rosHUlM7Yrtuc3VeXF2giVRwukea5w2cwlt8j2JeI4PusrIMg5FqT5RNv\n" \
    "uljAN4YKelQ+QTBrLrT3xMcKMCzO5UeatFgXgvZIfs458uS1rAyw2Z8CgYEAtree\n" \
    "+RbMeYCoxL7Y8zEuqemU2IBbq4EBlpiGCGB73uByT3bfpRTx/4/MXNT78CTE6UA/\n" \
    "qvBC1UCuDyUrFBO6xJ0KoGQqNtQM5HHZSmdslvO7hTEm6/m7PeOe4Ck+6ASV+UoI\n" \
    "zCrml/6CwlYMNRcGw65OFT72QKxrPo8X6CloUHMCgYAQj3oV2naxoLYmomLB29tp\n" \
    "VUvJzdfaIRyIIawHZByzw0cjUB8O4XauOx5lFnPTS/YRwA0a9FxCVH63jU98P5fp\n" \
    "dHkjG4yGAAGzqG5/iRSSgLBKRI8sy4OjlO5RRrxel5arywQ/qp1dOZEyztYJB9d+\n" \
    "dLfmdnjZXRq/yeZfmmE0BwKBgQCmQntjiL1SqiHntQlQcSZW8fbA8jt32ZGKaQs9\n" \
    "QB429eDOMgra+i4iL8Tzi9Ib+Dk9TXshnjISPiKkIVwLjtBZ69QpkjtfXKDGlln0\n" \
    "fBuxV+MAFXOnMbyRWjfNHXriQJn/FsDelwLwt2RgVVASVvuOv2LJrlsBCmMjr60/\n" \
    "Ub5bxQKBgQCu/gS7G/NHHBWUXXxOa4/XtnoZbU+18y3bte08bttTqYWHDsmGbqoZ\n" \
    "un6ktN2tEFVOGUBoBSCh3JcwlS+VOb/loSJ28IP8IOMO+BB9IQed2WQsvcs14epX\n" \
    "W94Nbs7kOq3dknjWMdzYCTAB93wf5XuE0eMF9YYbCN2HDyHTb/6lbg==\n" \
    "-----END RSA PRIVATE KEY-----\n"

#define PEM_RSA2048_PKCS8 \
    "-----BEGIN PRIVATE KEY-----\n" \
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCTPdIVEVBllW4w\n" \
    "R0NXDuYNbWuzRhnHk2CIfU5vXhJbG3JcVrpuVOYYIMzSdh4LK7FdwqRGL1XWR4Pu\n" \
    "fADRc2CCG+gxAeHy2yh+3W5GYXjkU5YkVtR0ueHyHDqC9CYddjrqdXLqvyebYauh\n" \
    "jIQ0z0U2Ft3jV3Iyk+iPJk6mxSrDJKq+4lC1ffEMTWKE+JQNanUb5koyUpmNH3Pp\n" \
    "EsPDZ4yDYbnVTP3GwaC1pnbpCFopRPF1KNzPvme7jJjFGLHJbCCxEixQOdxAhzWJ\n" \
    "4VDTrSDUhD5J3oQua54t9LxQ2u+0Gz09orA0msQ0dybUDMD5ulfHyB00ZIDb9GcU\n" \
    "XAvXC3JtAgMBAAECggEACY3IJRUCHtuuHw46SlqgufWEBXyvWfAwIh5I8DHHn+3A\n" \
    "YxY/Jov2Gh6wUf+kCpy2xE5HrN4panjD3YrIqs6BUC/rX8xIrIj+Sa0O5YL+ZLvs\n" \
    "hBMcpsfg50rGaSgNld/No6Tw5FZ4hXAcjz24EY0mNB14heXVdrHhZyU/LG1vgHxP\n" \
    "vtxIje0myuhEVvrOg0DuVE/j2LZ44lOuvP7JXcwG9C3HxtlLruiLB6C69GoyKhtI\n" \
    "QGXvelk0ohAvhkgRP+GCqNauA7qz2p8ZVo0cqswm+VeIfR+Be5wSqGhJtGOzXl07\n" \
    "/dosBE5TqWWJweYmcod2QIZzk4xDNFzLyABptrtbaQKBgQDOS78OFuWVBDj/ZL7C\n" \
    "R8ldN94WwUK2IeZFTTssbvMAb91JGZCFKLUACfUDTSuiwdSUztiu25zdV5cXaCJV\n" \
    "HC6R5rnDZzCW3yPYl4jg+6ysgyDkWpPlE2+6WMA3hgp6VD5BMGsutPfExwowLM7l\n" \
    "R5q0WBeC9kh+zjny5LWsDLDZnwKBgQC2t575Fsx5gKjEvtjzMS6p6ZTYgFurgQGW\n" \
    "mIYIYHve4HJPdt+lFPH/j8xc1PvwJMTpQD+q8ELVQK4PJSsUE7rEnQqgZCo21Azk\n" \
    "cdlKZ2yW87uFMSbr+bs9457gKT7oBJX5SgjMKuaX/oLCVgw1FwbDrk4VPvZArGs+\n" \
    "jxfoKWhQcwKBgBCPehXadrGgtiaiYsHb22lVS8nN19ohHIghrAdkHLPDRyNQHw7h\n" \
    "dq47HmUWc9NL9hHADRr0XEJUfreNT3w/l+l0eSMbjIYAAbOobn+JFJKAsEpEjyzL\n" \
    "g6OU7lFGvF6XlqvLBD+qnV05kTLO1gkH1350t+Z2eNldGr/J5l+aYTQHAoGBAKZC\n" \
    "e2OIvVKqIee1CVBxJlbx9sDyO3fZkYppCz1AHjb14M4yCtr6LiIvxPOL0hv4OT1N\n" \
    "eyGeMhI+IqQhXAuO0Fnr1CmSO19coMaWWfR8G7FX4wAVc6cxvJFaN80deuJAmf8W\n" \
    "wN6XAvC3ZGBVUBJW+46/YsmuWwEKYyOvrT9RvlvFAoGBAK7+BLsb80ccFZRdfE5r\n" \
    "j9e2ehltT7XzLdu17Txu21OphYcOyYZuqhm6fqS03a0QVU4ZQGgFIKHclzCVL5U5\n" \
    "v+WhInbwg/wg4w74EH0hB53ZZCy9yzXh6ldb3g1uzuQ6rd2SeNYx3NgJMAH3fB/l\n" \
    "e4TR4wX1hhsI3YcPIdNv/qVu\n" \
    "-----END PRIVATE KEY-----\n"

#define PEM_LEAF \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIICkzCCAfSgAwIBAgIGAPEjRWeJMAoGCCqGSM49BAMCMCQxEzARBgNVBAMMClRl\n" \
    "c3QgQ0EgWDExDTALBgNVBAoMBFRlc3QwIBcNMjYxMTIyMTAzOTMwWhgPMjA4MTA4\n" \
    "MjUxMDM5MzBaMEMxCzAJBgNVBAYTAkRFMRcwFQYDVQQKDA5VbWxhdXQgw4QsIElu\n" \
    "YzEbMBkGA1UEAwwSRmlyc3QuRXhhbXBsZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZI\n" \
    "zj0DAQcDQgAE9sQoDTYE7I9kKqFQvTeDdo2gnGJRfd3bwJD3IwtsuHrNBmpVPg0Y\n" \
    "kWK42p2wLIcjKpOJhkN0Ug26N1GlHvKr0KOB8DCB7TBgBgNVHREEWTBXghJGaXJz\n" \
    "dC5FeGFtcGxlLnRlc3SCDiouZXhhbXBsZS50ZXN0hwTAAAIHhxAgAQ24AAAAAAAA\n" \
    "AAAAAAABgQhhQGIudGVzdIYPaHR0cHM6Ly94LnRlc3QvMDYGCCsGAQUFBwEBBCow\n" \
    "KDAmBggrBgEFBQcwAYYaaHR0cDovL29jc3AuZXhhbXBsZS50ZXN0L2EwEQYIKwYB\n" \
    "BQUHARgEBTADAgEFMB8GA1UdIwQYMBaAFAwX5hxFwYMT7ML48+K+OVSrUTDSMB0G\n" \
    "A1UdDgQWBBT5KIgJstvHn67RLZitVrf/5UfNXjAKBggqhkjOPQQDAgOBjAAwgYgC\n" \
    "QgC2riEFDJ4cgrBvI6FHKBAKvjgbWXQyMPmuKkxU0t69RT49JFRJRRSpcB5nNUFG\n" \
    "fy0fekZNZGxuRjgUsnTQP6CWjQJCAJTY3f6hp6IlLShCW3HNGJdj0/p+dgXSR4Tg\n" \
    "1LV5JMUB3gfYxnOCt5kaxGv3OAiEt9E+BETVtmMlhSmK22cJdce7\n" \
    "-----END CERTIFICATE-----\n"

#define PEM_CA \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIICJzCCAYigAwIBAgIUd0E8PsIiLJsPSj2abvJx/aLxmCwwCgYIKoZIzj0EAwIw\n" \
    "JDETMBEGA1UEAwwKVGVzdCBDQSBYMTENMAsGA1UECgwEVGVzdDAgFw0yNjExMjIx\n" \
    "MDM5MzBaGA8yMDU0MDQwOTEwMzkzMFowJDETMBEGA1UEAwwKVGVzdCBDQSBYMTEN\n" \
    "MAsGA1UECgwEVGVzdDCBmzAQBgcqhkjOPQIBBgUrgQQAIwOBhgAEATohDZsh1Lc3\n" \
    "vG4XHyNbyC3vEbsdxt2oPCaCrPTq2JuEi7KcVFTOuUIKWqpnStzTb0eDXPTo9RUK\n" \
    "Ela0qyOokEaxANZkaAmLmQDFnLSAUT+Wb1Xa7KXiQh8IP5wSxSBeYw3qID6MLgZq\n" \
    "CEpyEP2bBWCvKE75ROblrRJx+Ad1tZF2I7+4o1MwUTAdBgNVHQ4EFgQUDBfmHEXB\n" \
    "gxPswvjz4r45VKtRMNIwHwYDVR0jBBgwFoAUDBfmHEXBgxPswvjz4r45VKtRMNIw\n" \
    "DwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgOBjAAwgYgCQgGoNRdnU1Gt8IEi\n" \
    "gnYW6mv45mSnQCXE47+oGwvB5rf5MP3xAdLyfgz6U9fOvPSBgFzJ1653P/pusB5l\n" \
    "w7p0YgAZcgJCAWBD9a20BH2F1jYxAe2SvFCno5eAj6hjII3CIeS+9FwUVFHfiib2\n" \
    "eK28BWS6gKPmdhAp6dqqQhJhDvhxWKc8ahM1\n" \
    "-----END CERTIFICATE-----\n"

/* clang-format on */
