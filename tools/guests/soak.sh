#!/bin/sh
# Builds and compresses files for ever, with Debian's tcc and busybox; a line for each round says what came of it. The same on any correct machine.
name=L1
for word in $(cat /proc/cmdline); do case $word in nestvm.level=*) name=L${word#*=} ;; esac; done
libc=/usr/lib/x86_64-linux-musl tiny=/usr/lib/x86_64-linux-gnu/tcc
compile() { tcc -B$tiny -nostdinc -nostdlib -I$tiny/include -I/usr/include/x86_64-linux-musl -static -o "$1" $libc/crt1.o $libc/crti.o "$2" $libc/libc.a $tiny/libtcc1.a $libc/libc.a $libc/crtn.o; }

# A program of many functions that call each other, another one for each round; it prints a number.
generate() {
  awk -v seed="$1" 'BEGIN {
    srand(seed); count = 60
    print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nstatic unsigned long state = " seed "; static double real = 1;"
    for (i = 0; i < count; i++) {
      printf "static unsigned long f%d(unsigned long a, unsigned b) {\n  unsigned char text[64]; memset(text, b, sizeof text);\n", i
      for (j = 0; j < 6; j++) {
        k = int(rand() * 6)
        if (k == 0) printf "  a = a * %dul + (b >> %d);\n", 1 + int(rand() * 1e6), int(rand() * 31)
        if (k == 1) printf "  a ^= a >> %d; b -= %d;\n", 1 + int(rand() * 60), int(rand() * 1e4)
        if (k == 2) printf "  if (a %% %d > b %% %d) a += text[a %% 64]; else text[b %% 64] = a;\n", 2 + int(rand() * 90), 2 + int(rand() * 90)
        if (k == 3) printf "  real = real * %f + (double)(a & 1023); if (real > 1e9) real /= 1e6;\n", 1 + rand()
        if (k == 4) printf "  switch (a %% 5) { case 0: a += %d; break; case 1: b ^= a; break; case 3: a = a << 7 | a >> 57; break; default: a -= b; }\n", int(rand() * 1e6)
        if (k == 5 && i > 0) printf "  if (b %% 3 == 0) a += f%d(a, b + 1);\n", int(rand() * i)
      }
      print "  return a + b + text[a % 64];\n}"
    }
    print "int main(void) {\n  char *list = calloc(1, 1 << 16);\n  for (int i = 0; i < 400; i++) {"
    for (i = 0; i < count; i++) printf "    state += f%d(state, i);\n", i
    print "    snprintf(list + i * 40, 40, \"%lx %f;\", state, real);\n  }\n  unsigned long sum = 0;"
    print "  for (int i = 0; i < 1 << 16; i++) sum = sum * 31 + list[i];\n  printf(\"%lx\\n\", sum);\n}"
  }'
}

fail() { echo "soak: $name: round $round: $1"; exit 1; }
mkdir -p /tmp/soak && cd /tmp/soak || exit 1
round=0
while :; do
  round=$((round + 1))
  generate $round >made.c
  compile made made.c && value=$(./made) || fail 'what was built does not run'
  compile again made.c && cmp -s made again || fail 'two builds differ'
  tar c made.c made /bin/soak /usr/include/x86_64-linux-musl 2>/dev/null >files.tar
  sum=$(md5sum <files.tar) small=
  for tool in gzip bzip2; do
    $tool <files.tar >packed || fail "$tool fails"
    [ "$($tool -d <packed | md5sum)" = "$sum" ] || fail "$tool gives something else back"
    small="$small $(md5sum <packed | cut -c1-8)"
  done
  echo "soak: $name: round $round: $value ${sum%% *}$small"
done
