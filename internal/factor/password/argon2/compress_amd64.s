//go:build amd64 && !purego

#include "textflag.h"

// Byte orders that rotate each 64-bit word right by 24 and by 16.
DATA ·ror24<>+0(SB)/8, $0x0201000706050403
DATA ·ror24<>+8(SB)/8, $0x0a09080f0e0d0c0b
DATA ·ror24<>+16(SB)/8, $0x0201000706050403
DATA ·ror24<>+24(SB)/8, $0x0a09080f0e0d0c0b
GLOBL ·ror24<>(SB), RODATA|NOPTR, $32

DATA ·ror16<>+0(SB)/8, $0x0100070605040302
DATA ·ror16<>+8(SB)/8, $0x09080f0e0d0c0b0a
DATA ·ror16<>+16(SB)/8, $0x0100070605040302
DATA ·ror16<>+24(SB)/8, $0x09080f0e0d0c0b0a
GLOBL ·ror16<>(SB), RODATA|NOPTR, $32

// Two permutations P (RFC 9106, section 3.6) run side by side, so that one works while the other waits:
// words 0-3, 4-7, 8-11 and 12-15 of the first are in Y0 to Y3, of the second in Y4 to Y7.
// Y8 and Y9 are temporary, Y14 and Y15 hold the byte orders.

// A += B + 2*low(A)*low(B)
#define ADD_MUL(A0, B0, A1, B1) \
	VPMULUDQ A0, B0, Y8; \
	VPMULUDQ A1, B1, Y9; \
	VPADDQ   B0, A0, A0; \
	VPADDQ   B1, A1, A1; \
	VPADDQ   Y8, Y8, Y8; \
	VPADDQ   Y9, Y9, Y9; \
	VPADDQ   Y8, A0, A0; \
	VPADDQ   Y9, A1, A1

// All four columns of both at once.
#define MIX \
	ADD_MUL(Y0, Y1, Y4, Y5); \
	VPXOR   Y0, Y3, Y3; \
	VPXOR   Y4, Y7, Y7; \
	VPSHUFD $0xB1, Y3, Y3; \
	VPSHUFD $0xB1, Y7, Y7; \
	ADD_MUL(Y2, Y3, Y6, Y7); \
	VPXOR   Y2, Y1, Y1; \
	VPXOR   Y6, Y5, Y5; \
	VPSHUFB Y14, Y1, Y1; \
	VPSHUFB Y14, Y5, Y5; \
	ADD_MUL(Y0, Y1, Y4, Y5); \
	VPXOR   Y0, Y3, Y3; \
	VPXOR   Y4, Y7, Y7; \
	VPSHUFB Y15, Y3, Y3; \
	VPSHUFB Y15, Y7, Y7; \
	ADD_MUL(Y2, Y3, Y6, Y7); \
	VPXOR   Y2, Y1, Y1; \
	VPXOR   Y6, Y5, Y5; \
	VPADDQ  Y1, Y1, Y8; \
	VPADDQ  Y5, Y5, Y9; \
	VPSRLQ  $63, Y1, Y1; \
	VPSRLQ  $63, Y5, Y5; \
	VPXOR   Y8, Y1, Y1; \
	VPXOR   Y9, Y5, Y5

// Columns, then diagonals, which are columns once the words have been turned.
#define PERMUTE \
	MIX; \
	VPERMQ $0x39, Y1, Y1; \
	VPERMQ $0x39, Y5, Y5; \
	VPERMQ $0x4E, Y2, Y2; \
	VPERMQ $0x4E, Y6, Y6; \
	VPERMQ $0x93, Y3, Y3; \
	VPERMQ $0x93, Y7, Y7; \
	MIX; \
	VPERMQ $0x93, Y1, Y1; \
	VPERMQ $0x93, Y5, Y5; \
	VPERMQ $0x4E, Y2, Y2; \
	VPERMQ $0x4E, Y6, Y6; \
	VPERMQ $0x39, Y3, Y3; \
	VPERMQ $0x39, Y7, Y7

// R = x ^ y at the offset.
#define LOAD_XY(OFF, R) \
	VMOVDQU OFF(SI), R; \
	VPXOR   OFF(DX), R, R

// A pair of 4-word columns is 32 bytes of each of the 8 rows; rows 2k and 2k+1 become words 4k to 4k+3 of both.
#define LOAD_COLUMNS(OFF, R0, R1) \
	VMOVDQU    OFF(CX), Y8; \
	VMOVDQU    (OFF+128)(CX), Y9; \
	VPERM2I128 $0x20, Y9, Y8, R0; \
	VPERM2I128 $0x31, Y9, Y8, R1

#define UNLOAD_COLUMNS(OFF, R0, R1) \
	VPERM2I128 $0x20, R1, R0, Y8; \
	VPERM2I128 $0x31, R1, R0, Y9; \
	VPXOR      OFF(SI), Y8, Y8; \
	VPXOR      (OFF+128)(SI), Y9, Y9; \
	VPXOR      OFF(DX), Y8, Y8; \
	VPXOR      (OFF+128)(DX), Y9, Y9

#define STORE_COLUMNS(OFF, R0, R1) \
	UNLOAD_COLUMNS(OFF, R0, R1); \
	VMOVDQU Y8, OFF(DI); \
	VMOVDQU Y9, (OFF+128)(DI)

#define ADD_COLUMNS(OFF, R0, R1) \
	UNLOAD_COLUMNS(OFF, R0, R1); \
	VPXOR   OFF(DI), Y8, Y8; \
	VPXOR   (OFF+128)(DI), Y9, Y9; \
	VMOVDQU Y8, OFF(DI); \
	VMOVDQU Y9, (OFF+128)(DI)

// func compressAVX2(out, x, y, temp *block, add bool)
TEXT ·compressAVX2(SB), NOSPLIT, $0-33
	MOVQ out+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ y+16(FP), DX
	MOVQ temp+24(FP), CX
	MOVBLZX add+32(FP), BX
	VMOVDQU ·ror24<>(SB), Y14
	VMOVDQU ·ror16<>(SB), Y15

	// Rows of x ^ y, two at a time, into temp.
	MOVQ $4, AX
rows:
	LOAD_XY(0, Y0)
	LOAD_XY(32, Y1)
	LOAD_XY(64, Y2)
	LOAD_XY(96, Y3)
	LOAD_XY(128, Y4)
	LOAD_XY(160, Y5)
	LOAD_XY(192, Y6)
	LOAD_XY(224, Y7)
	PERMUTE
	VMOVDQU Y0, 0(CX)
	VMOVDQU Y1, 32(CX)
	VMOVDQU Y2, 64(CX)
	VMOVDQU Y3, 96(CX)
	VMOVDQU Y4, 128(CX)
	VMOVDQU Y5, 160(CX)
	VMOVDQU Y6, 192(CX)
	VMOVDQU Y7, 224(CX)
	ADDQ $256, SI
	ADDQ $256, DX
	ADDQ $256, CX
	DECQ AX
	JNZ  rows

	// Columns of temp, two at a time; x and y are added on the way out.
	SUBQ $1024, SI
	SUBQ $1024, DX
	SUBQ $1024, CX
	MOVQ $4, AX
columns:
	LOAD_COLUMNS(0, Y0, Y4)
	LOAD_COLUMNS(256, Y1, Y5)
	LOAD_COLUMNS(512, Y2, Y6)
	LOAD_COLUMNS(768, Y3, Y7)
	PERMUTE
	TESTL BX, BX
	JNZ  add
	STORE_COLUMNS(0, Y0, Y4)
	STORE_COLUMNS(256, Y1, Y5)
	STORE_COLUMNS(512, Y2, Y6)
	STORE_COLUMNS(768, Y3, Y7)
	JMP  next
add:
	ADD_COLUMNS(0, Y0, Y4)
	ADD_COLUMNS(256, Y1, Y5)
	ADD_COLUMNS(512, Y2, Y6)
	ADD_COLUMNS(768, Y3, Y7)
next:
	ADDQ $32, SI
	ADDQ $32, DX
	ADDQ $32, CX
	ADDQ $32, DI
	DECQ AX
	JNZ  columns

	VZEROUPPER
	RET
