/* The choice of a variant at run time. */
#include <stddef.h>
#include <string.h>

#include "kernels.h"
#include "variant.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Measured on weights in mapped files, as workers have them. Intel's prefetcher stops at the end of
 * a page, so a page and a half. AMD's goes on, and far requests cost it up to a third. */
enum { FAR_AHEAD = 6144, NEAR_AHEAD = 512 };
int prefetch_bytes = FAR_AHEAD;

__attribute__((constructor)) static void choose_prefetch(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd")) prefetch_bytes = NEAR_AHEAD;
}

static int has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

/* Not /proc/cpuinfo, which under emulation describes another machine. */
static int has_dotprod(void) {
    const unsigned long asimddp = 1UL << 20;
    return (getauxval(AT_HWCAP) & asimddp) != 0;
}

static int has_i8mm(void) {
    const unsigned long i8mm = 1UL << 13;
    return has_dotprod() && (getauxval(AT_HWCAP2) & i8mm) != 0;
}
#endif

static int always(void) { return 1; }

/* Fastest first. */
static const struct {
    const struct variant *variant;
    int (*supported)(void);
} choices[] = {
#if defined(__x86_64__)
    {&avx512_variant, has_avx512},
    {&avx2_variant, has_avx2},
#elif defined(__aarch64__)
    {&neon_i8mm_variant, has_i8mm},
    {&neon_dotprod_variant, has_dotprod},
    {&neon_variant, always},
#endif
    {&portable_variant, always},
};

enum { CHOICES = sizeof choices / sizeof *choices };

const struct variant *find_variant(const char *name) {
    for (int i = 0; i < CHOICES; i++) {
        int asked = !name || !*name || strcmp(name, choices[i].variant->name) == 0;
        if (asked && choices[i].supported())
            return choices[i].variant;
    }
    return NULL;
}

const char *kernels_variant(int index) {
    for (int i = 0; i < CHOICES; i++)
        if (choices[i].supported() && index-- == 0)
            return choices[i].variant->name;
    return NULL;
}
