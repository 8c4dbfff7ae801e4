;; The four loops in which a generator spends its time, in WebAssembly's text form.
;;
;; WebAssembly is a small machine language that browsers run nearly as fast as native code. It knows numbers, one flat
;; memory of bytes, and functions; an address is a number, the place of a byte in that memory. This text has the same
;; content as the bytes that a browser gets: `assemble.py` translates one into the other, word by word.
;;
;;     (local.get $x)             the value of x, an argument or a variable
;;     (local.set $x V)           x becomes V; (local.tee $x V) also has the value V
;;     (i32.add A B)              A + B of whole numbers; mul, sub, lt_s (A < B) and so on likewise
;;     (f32.load A)               the number at the address A; (f32.store A V) puts V there
;;     (v128.load A)              four numbers at once from the address A on: f32x4.mul and so on work on all four
;;     (v128.load offset=16 A)    the same from the address A + 16 on
;;     (v128.load32_splat A)      four copies of the number at A
;;     (loop $again ...)          runs once; (br_if $again C) in it runs it again if C holds
;;     (block $out ...)           (br_if $out C) in it leaves it
;;
;; All numbers are floats of 4 bytes. All lengths with `bytes` in their names count bytes.
(module
  (memory (import "page" "memory") 1)

  ;; A product of matrices: output row i = Σ over k of A[i, k] · W[k], for 8 columns at a time and 4 rows at a time, whose
  ;; 32 sums stay in registers. A row of A consists of `runs` pieces of `length` numbers: those of the second piece
  ;; begin `run_bytes` after those of the first. For a convolution, a piece is a row of the window, and the rows of A
  ;; overlap in memory; so nothing is copied. W is stored as panels of 8 columns: all k of the first panel, then all of
  ;; the next. The last four rows may be computed twice; with fewer than four, there must be room for four.
  (func (export "multiply")
    (param $a i32) (param $a_bytes i32) (param $runs i32) (param $length i32) (param $run_bytes i32)
    (param $weights i32) (param $out i32) (param $out_bytes i32) (param $rows i32) (param $panels i32)
    (local $row i32) (local $run i32) (local $k i32) (local $w i32) (local $piece i32) (local $to i32)
    (local $a0 i32) (local $a1 i32) (local $a2 i32) (local $a3 i32) (local $v v128) (local $left v128) (local $right v128)
    (local $l0 v128) (local $l1 v128) (local $l2 v128) (local $l3 v128)
    (local $r0 v128) (local $r1 v128) (local $r2 v128) (local $r3 v128)
    (loop $next_panel
      (local.set $row (i32.const 0))
      (loop $next_rows
        ;; The last four rows, if fewer are left, unless there are fewer than four at all.
        (if (i32.and (i32.gt_s (i32.add (local.get $row) (i32.const 4)) (local.get $rows)) (i32.ge_s (local.get $rows) (i32.const 4)))
          (then (local.set $row (i32.sub (local.get $rows) (i32.const 4)))))
        (local.set $l0 (v128.const i32x4 0 0 0 0)) (local.set $l1 (v128.const i32x4 0 0 0 0))
        (local.set $l2 (v128.const i32x4 0 0 0 0)) (local.set $l3 (v128.const i32x4 0 0 0 0))
        (local.set $r0 (v128.const i32x4 0 0 0 0)) (local.set $r1 (v128.const i32x4 0 0 0 0))
        (local.set $r2 (v128.const i32x4 0 0 0 0)) (local.set $r3 (v128.const i32x4 0 0 0 0))
        (local.set $w (local.get $weights))
        (local.set $piece (i32.add (local.get $a) (i32.mul (local.get $row) (local.get $a_bytes))))
        (local.set $run (local.get $runs))
        (loop $next_run
          (local.set $a0 (local.get $piece))
          (local.set $a1 (i32.add (local.get $a0) (local.get $a_bytes)))
          (local.set $a2 (i32.add (local.get $a1) (local.get $a_bytes)))
          (local.set $a3 (i32.add (local.get $a2) (local.get $a_bytes)))
          (local.set $k (local.get $length))
          (loop $next_k
            (local.set $left (v128.load (local.get $w)))
            (local.set $right (v128.load offset=16 (local.get $w)))
            (local.set $v (v128.load32_splat (local.get $a0)))
            (local.set $l0 (f32x4.add (local.get $l0) (f32x4.mul (local.get $v) (local.get $left))))
            (local.set $r0 (f32x4.add (local.get $r0) (f32x4.mul (local.get $v) (local.get $right))))
            (local.set $v (v128.load32_splat (local.get $a1)))
            (local.set $l1 (f32x4.add (local.get $l1) (f32x4.mul (local.get $v) (local.get $left))))
            (local.set $r1 (f32x4.add (local.get $r1) (f32x4.mul (local.get $v) (local.get $right))))
            (local.set $v (v128.load32_splat (local.get $a2)))
            (local.set $l2 (f32x4.add (local.get $l2) (f32x4.mul (local.get $v) (local.get $left))))
            (local.set $r2 (f32x4.add (local.get $r2) (f32x4.mul (local.get $v) (local.get $right))))
            (local.set $v (v128.load32_splat (local.get $a3)))
            (local.set $l3 (f32x4.add (local.get $l3) (f32x4.mul (local.get $v) (local.get $left))))
            (local.set $r3 (f32x4.add (local.get $r3) (f32x4.mul (local.get $v) (local.get $right))))
            (local.set $a0 (i32.add (local.get $a0) (i32.const 4)))
            (local.set $a1 (i32.add (local.get $a1) (i32.const 4)))
            (local.set $a2 (i32.add (local.get $a2) (i32.const 4)))
            (local.set $a3 (i32.add (local.get $a3) (i32.const 4)))
            (local.set $w (i32.add (local.get $w) (i32.const 32)))
            (br_if $next_k (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
          (local.set $piece (i32.add (local.get $piece) (local.get $run_bytes)))
          (br_if $next_run (local.tee $run (i32.sub (local.get $run) (i32.const 1)))))
        (local.set $to (i32.add (local.get $out) (i32.mul (local.get $row) (local.get $out_bytes))))
        (v128.store (local.get $to) (local.get $l0))
        (v128.store offset=16 (local.get $to) (local.get $r0))
        (local.set $to (i32.add (local.get $to) (local.get $out_bytes)))
        (v128.store (local.get $to) (local.get $l1))
        (v128.store offset=16 (local.get $to) (local.get $r1))
        (local.set $to (i32.add (local.get $to) (local.get $out_bytes)))
        (v128.store (local.get $to) (local.get $l2))
        (v128.store offset=16 (local.get $to) (local.get $r2))
        (local.set $to (i32.add (local.get $to) (local.get $out_bytes)))
        (v128.store (local.get $to) (local.get $l3))
        (v128.store offset=16 (local.get $to) (local.get $r3))
        (local.set $row (i32.add (local.get $row) (i32.const 4)))
        (br_if $next_rows (i32.lt_s (local.get $row) (local.get $rows))))
      (local.set $weights (local.get $w)) ;; which has gone through the panel, and stands at the next one
      (local.set $out (i32.add (local.get $out) (i32.const 32)))
      (br_if $next_panel (local.tee $panels (i32.sub (local.get $panels) (i32.const 1))))))

  ;; x becomes y = scale · x + shift, or slope · y where that is larger: LeakyReLU for a slope below 1, ReLU for 0, and
  ;; no change for 1. Each of `rows` rows has `bytes`, a multiple of 16, and meets the same scales and shifts.
  (func (export "finish")
    (param $x i32) (param $rows i32) (param $bytes i32) (param $scale i32) (param $shift i32) (param $slope f32)
    (local $at i32) (local $slopes v128) (local $y v128)
    (local.set $slopes (f32x4.splat (local.get $slope)))
    (loop $next_row
      (local.set $at (i32.const 0))
      (loop $next_four
        (local.set $y (f32x4.add
          (f32x4.mul (v128.load (local.get $x)) (v128.load (i32.add (local.get $scale) (local.get $at))))
          (v128.load (i32.add (local.get $shift) (local.get $at)))))
        (v128.store (local.get $x) (f32x4.max (local.get $y) (f32x4.mul (local.get $y) (local.get $slopes))))
        (local.set $x (i32.add (local.get $x) (i32.const 16)))
        (br_if $next_four (i32.lt_s (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes))))
      (br_if $next_row (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))

  ;; Adds the numbers from $from on to those from $to on; `bytes` is a multiple of 16.
  (func (export "add") (param $to i32) (param $from i32) (param $bytes i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $to) (local.get $bytes)))
    (loop $next
      (v128.store (local.get $to) (f32x4.add (v128.load (local.get $to)) (v128.load (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $next (i32.lt_s (local.tee $to (i32.add (local.get $to) (i32.const 16))) (local.get $end)))))

  ;; The second half of a transposed convolution. The first, `multiply`, has made for a row of `columns` pixels what each
  ;; adds to the window of pixels around it: here one row of the windows is added to one row of the larger image. Pixel
  ;; x of the row adds to the pixels stride · x − padding + 0, 1, ..., `window` − 1, unless these lie outside of `width`.
  ;; A pixel has `features` numbers here, and takes `pixel_bytes` in the larger image and `from_bytes` in the smaller one.
  (func (export "spread")
    (param $from i32) (param $from_bytes i32) (param $columns i32) (param $to i32) (param $pixel_bytes i32) (param $width i32)
    (param $window i32) (param $stride i32) (param $padding i32) (param $features i32)
    (local $start i32) (local $tap i32) (local $x i32) (local $source i32) (local $target i32) (local $left i32)
    (local.set $start (i32.sub (i32.const 0) (local.get $padding)))
    (loop $next_pixel
      (local.set $tap (i32.const 0))
      (local.set $source (local.get $from))
      (loop $next_tap
        (local.set $x (i32.add (local.get $start) (local.get $tap)))
        (if (i32.lt_u (local.get $x) (local.get $width)) ;; as an unsigned number, one below 0 is very large
          (then
            (local.set $target (i32.add (local.get $to) (i32.mul (local.get $x) (local.get $pixel_bytes))))
            (local.set $left (local.get $features))
            (block $fours_done
              (loop $next_four
                (br_if $fours_done (i32.lt_s (local.get $left) (i32.const 4)))
                (v128.store (local.get $target) (f32x4.add (v128.load (local.get $target)) (v128.load (local.get $source))))
                (local.set $target (i32.add (local.get $target) (i32.const 16)))
                (local.set $source (i32.add (local.get $source) (i32.const 16)))
                (local.set $left (i32.sub (local.get $left) (i32.const 4)))
                (br $next_four)))
            (block $done
              (loop $next_one
                (br_if $done (i32.eqz (local.get $left)))
                (f32.store (local.get $target) (f32.add (f32.load (local.get $target)) (f32.load (local.get $source))))
                (local.set $target (i32.add (local.get $target) (i32.const 4)))
                (local.set $source (i32.add (local.get $source) (i32.const 4)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br $next_one))))
          (else (local.set $source (i32.add (local.get $source) (i32.mul (local.get $features) (i32.const 4))))))
        (br_if $next_tap (i32.lt_s (local.tee $tap (i32.add (local.get $tap) (i32.const 1))) (local.get $window))))
      (local.set $from (i32.add (local.get $from) (local.get $from_bytes)))
      (local.set $start (i32.add (local.get $start) (local.get $stride)))
      (br_if $next_pixel (local.tee $columns (i32.sub (local.get $columns) (i32.const 1)))))))
