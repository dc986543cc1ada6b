/* Captures x87 vectors on the real CPU: capture SEED COUNT > vectors.txt
 * One line = one case: NAME cw sw tags st0 st1 memory > sw tags below st0 st1 memory flags
 * (hexadecimal, most significant digit first; tags: bit i set = physical register i in use; below: the register under the old top). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct image { uint32_t cw, sw, tw, ip, cs, dp, ds; uint8_t st[8][10]; } __attribute__((packed));
static struct image in, out;
static uint8_t mem[16];
static uint64_t flags;

#define OP(name, text) static void name(void) { __asm__ volatile("frstor %1\n\txor %%eax,%%eax\n\t" text "\n\tpushf\n\tpop %2\n\tfnsave %0" : "=m"(out), "+m"(in), "=r"(flags) : "D"(mem) : "rax", "memory", "cc"); }
#define LIST(X) \
  X(FADD_m32, "fadds (%%rdi)") X(FADD_m64, "faddl (%%rdi)") X(FADD_0, "fadd %%st(1),%%st") X(FADD_i, "fadd %%st,%%st(1)") X(FADDP_i, "faddp %%st,%%st(1)") X(FIADD_m16, "fiadds (%%rdi)") X(FIADD_m32, "fiaddl (%%rdi)") \
  X(FMUL_m32, "fmuls (%%rdi)") X(FMUL_m64, "fmull (%%rdi)") X(FMUL_0, "fmul %%st(1),%%st") X(FMULP_i, "fmulp %%st,%%st(1)") X(FIMUL_m16, "fimuls (%%rdi)") \
  X(FSUB_m32, "fsubs (%%rdi)") X(FSUB_m64, "fsubl (%%rdi)") X(FSUB_0, ".byte 0xd8,0xe1") X(FSUB_i, ".byte 0xdc,0xe9") X(FSUBP_i, ".byte 0xde,0xe9") X(FISUB_m32, "fisubl (%%rdi)") \
  X(FSUBR_m32, "fsubrs (%%rdi)") X(FSUBR_0, ".byte 0xd8,0xe9") X(FSUBR_i, ".byte 0xdc,0xe1") X(FSUBRP_i, ".byte 0xde,0xe1") X(FISUBR_m16, "fisubrs (%%rdi)") \
  X(FDIV_m32, "fdivs (%%rdi)") X(FDIV_m64, "fdivl (%%rdi)") X(FDIV_0, ".byte 0xd8,0xf1") X(FDIV_i, ".byte 0xdc,0xf9") X(FDIVP_i, ".byte 0xde,0xf9") X(FIDIV_m32, "fidivl (%%rdi)") \
  X(FDIVR_m64, "fdivrl (%%rdi)") X(FDIVR_0, ".byte 0xd8,0xf9") X(FDIVR_i, ".byte 0xdc,0xf1") X(FDIVRP_i, ".byte 0xde,0xf1") X(FIDIVR_m16, "fidivrs (%%rdi)") \
  X(FCOM_m32, "fcoms (%%rdi)") X(FCOM_m64, "fcoml (%%rdi)") X(FCOM_i, "fcom %%st(1)") X(FCOMP_m64, "fcompl (%%rdi)") X(FCOMPP, "fcompp") X(FUCOM_i, "fucom %%st(1)") X(FUCOMP_i, "fucomp %%st(1)") X(FUCOMPP, "fucompp") \
  X(FICOM_m16, "ficoms (%%rdi)") X(FICOMP_m32, "ficompl (%%rdi)") X(FCOMI_i, "fcomi %%st(1),%%st") X(FCOMIP_i, "fcomip %%st(1),%%st") X(FUCOMI_i, "fucomi %%st(1),%%st") X(FUCOMIP_i, "fucomip %%st(1),%%st") \
  X(FTST, "ftst") X(FXAM, "fxam") X(FCHS, "fchs") X(FABS, "fabs") X(FSQRT, "fsqrt") X(FRNDINT, "frndint") X(FSCALE, "fscale") X(FPREM, "fprem") X(FPREM1, "fprem1") X(FXTRACT, "fxtract") \
  X(FLD_m32, "flds (%%rdi)") X(FLD_m64, "fldl (%%rdi)") X(FLD_m80, "fldt (%%rdi)") X(FLD_i, "fld %%st(1)") X(FST_m32, "fsts (%%rdi)") X(FST_m64, "fstl (%%rdi)") X(FST_i, "fst %%st(1)") X(FSTP_m32, "fstps (%%rdi)") X(FSTP_m64, "fstpl (%%rdi)") X(FSTP_m80, "fstpt (%%rdi)") X(FSTP_i, "fstp %%st(1)") \
  X(FILD_m16, "filds (%%rdi)") X(FILD_m32, "fildl (%%rdi)") X(FILD_m64, "fildll (%%rdi)") X(FIST_m16, "fists (%%rdi)") X(FIST_m32, "fistl (%%rdi)") X(FISTP_m16, "fistps (%%rdi)") X(FISTP_m32, "fistpl (%%rdi)") X(FISTP_m64, "fistpll (%%rdi)") \
  X(FISTTP_m16, "fisttps (%%rdi)") X(FISTTP_m32, "fisttpl (%%rdi)") X(FISTTP_m64, "fisttpll (%%rdi)") X(FBLD_m80, "fbld (%%rdi)") X(FBSTP_m80, "fbstp (%%rdi)") \
  X(FXCH_i, "fxch %%st(1)") X(FFREE_i, "ffree %%st(1)") X(FFREEP_i, ".byte 0xdf,0xc1") X(FINCSTP, "fincstp") X(FDECSTP, "fdecstp") X(FNOP, "fnop") X(FCMOVNE_i, "fcmovne %%st(1),%%st") X(FCMOVE_i, "fcmove %%st(1),%%st") \
  X(FLD1, "fld1") X(FLDL2T, "fldl2t") X(FLDL2E, "fldl2e") X(FLDPI, "fldpi") X(FLDLG2, "fldlg2") X(FLDLN2, "fldln2") X(FLDZ, "fldz") \
  X(F2XM1, "f2xm1") X(FYL2X, "fyl2x") X(FYL2XP1, "fyl2xp1") X(FPATAN, "fpatan") X(FPTAN, "fptan") X(FSIN, "fsin") X(FCOS, "fcos") X(FSINCOS, "fsincos")
LIST(OP)
static const struct { const char *name; void (*run)(void); } ops[] = {
#define ROW(name, text) { #name, name },
  LIST(ROW)
};
#define OPS ((int)(sizeof ops / sizeof *ops))

static uint64_t seed;
static uint64_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed * 0x2545f4914f6cdd1dull; }
static int pick(int n) { return (int)((rnd() >> 33) % (unsigned)n); }
static uint64_t bits64(void) {
  switch (pick(6)) { case 0: return 0; case 1: return ~0ull; case 2: return 1ull << pick(64); case 3: return ~0ull << pick(64); case 4: return rnd() & (~0ull << pick(64)); default: return rnd(); }
}
static void number(uint8_t *p) {
  static const uint16_t edges[] = { 0, 0, 1, 2, 0x3fff, 0x3ffe, 0x4000, 0x7ffe, 0x7fff, 0x7fff, 0x3f81, 0x3f80, 0x3f6a, 0x407e, 0x407f, 0x3c01, 0x3c00, 0x3bcd, 0x43fe, 0x43ff, 0x403d, 0x403e, 0x401d, 0x400d };
  uint64_t s = bits64();
  uint16_t e = pick(3) ? 0x3fff - 40 + pick(110) : pick(3) ? edges[pick(sizeof edges / 2)] : rnd() & 0x7fff;
  if (e && pick(20)) s |= 1ull << 63;
  if (!e && pick(4)) s &= ~(1ull << 63);
  e |= pick(2) << 15;
  memcpy(p, &s, 8); memcpy(p + 8, &e, 2);
}
static void hex(const uint8_t *p, int n) { putchar(' '); while (n--) printf("%02x", p[n]); }
static void memory(const char *name) {
  uint64_t v = rnd();
  memset(mem, 0xee, sizeof mem);
  if (strstr(name, "BLD")) { for (int i = 0; i < 9; i++) mem[i] = pick(10) << 4 | pick(10); mem[9] = pick(2) << 7; return; }
  if (strstr(name, "m80")) { number(mem); return; }
  if (name[1] == 'I') { v = (int64_t)v >> pick(64); memcpy(mem, &v, 8); return; }
  if (strstr(name, "m64")) { static const uint16_t e[] = { 0, 0, 1, 0x3ff, 0x400, 0x7fe, 0x7ff, 0x7ff }; v = bits64() >> 12 | (uint64_t)(pick(2) ? e[pick(8)] : 0x3ff - 30 + pick(60)) << 52 | (uint64_t)pick(2) << 63; memcpy(mem, &v, 8); }
  else { static const uint8_t e[] = { 0, 0, 1, 127, 128, 254, 255, 255 }; uint32_t w = (uint32_t)(bits64() >> 41) | (uint32_t)(pick(2) ? e[pick(8)] : 127 - 30 + pick(60)) << 23 | (uint32_t)pick(2) << 31; memcpy(mem, &w, 4); }
}
static int used(uint32_t tw) { int t = 0; for (int i = 0; i < 8; i++) if ((tw >> 2 * i & 3) != 3) t |= 1 << i; return t; }

int main(int argc, char **argv) {
  seed = argc > 1 ? strtoull(argv[1], 0, 0) | 1 : 1;
  int count = argc > 2 ? atoi(argv[2]) : 10000;
  for (int i = 0; i < 50; i++) rnd();
  for (int n = 0; n < count; n++) {
    int op = n % OPS, top = pick(8), full = 0;
    memset(&in, 0, sizeof in);
    in.cw = 0x40 | pick(4) << 10 | (pick(2) ? 3 : pick(4)) << 8 | (pick(4) ? 0x3f : pick(64));
    in.sw = top << 11 | (pick(2) ? (pick(2) << 8 | pick(2) << 9 | pick(2) << 10 | pick(2) << 14) : 0) | (pick(3) ? 0 : pick(64) & in.cw);
    for (int i = 0; i < 8; i++) { number(in.st[i]); full |= (i < 2 ? pick(16) != 0 : i == 7 ? pick(12) == 0 : pick(2)) << ((top + i) & 7); }
    memset(in.st[7], 0, 10);
    if (!pick(4)) { memcpy(in.st[1], in.st[0], 10); in.st[1][pick(8)] ^= 1 << pick(8) & -pick(2); in.st[1][9] ^= pick(2) << 7; }
    for (int i = 0; i < 8; i++) if (!(full >> i & 1)) in.tw |= 3 << 2 * i;
    memory(ops[op].name);
    printf("%s %04x %04x %02x", ops[op].name, in.cw, in.sw, full);
    hex(in.st[0], 10); hex(in.st[1], 10); hex(mem, 10);
    struct image before = in;
    ops[op].run();
    int after = out.sw >> 11 & 7;
    printf(" > %04x %02x", out.sw & 0xffff, used(out.tw));
    for (int i = -1; i < 2; i++) {
      int p = (top + i) & 7;
      if (out.tw >> 2 * p & 3 ^ 3) hex(out.st[(p - after) & 7], 10); else printf(" -");
    }
    for (int i = 2; i < 7; i++) if (memcmp(before.st[i], out.st[(top + i - after) & 7], 10)) { fprintf(stderr, "%s changed another register\n", ops[op].name); return 1; }
    hex(mem, 10);
    printf(" %02x\n", (int)flags & 0x45);
  }
  return 0;
}
