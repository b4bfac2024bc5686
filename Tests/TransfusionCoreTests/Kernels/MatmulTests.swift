import CKernels
import Testing

@testable import TransfusionCore

@Suite struct MatmulTests {
    /// A matrix on memory of its own, filled with reproducible numbers; elements outside the matrix are NaN.
    final class Matrix {
        let view: MatrixView
        private let memory: UnsafeMutableRawBufferPointer

        init(_ rows: Int, _ columns: Int, _ type: ElementType, transposed: Bool = false, padding: Int = 0, seed: UInt64)
        {
            let (lines, length) = transposed ? (columns, rows) : (rows, columns)
            let stride = max(length + padding, 1)
            let count = max(lines * stride, 1)
            memory = .allocate(byteCount: count * type.byteCount, alignment: 64)
            view = MatrixView(
                memory.baseAddress!, type, rows: rows, columns: columns, rowStride: stride,
                isTransposed: transposed)
            for index in 0..<count { Matrix.store(.nan, type, memory.baseAddress!, index) }
            var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
            for row in 0..<rows {
                for column in 0..<columns {
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    self[row, column] = Float(Int(state >> 40) - (1 << 23)) / Float(1 << 23)
                }
            }
        }

        deinit { memory.deallocate() }

        subscript(row: Int, column: Int) -> Float {
            get { Matrix.load(view.type, view.address, offset(row, column)) }
            set { Matrix.store(newValue, view.type, view.address, offset(row, column)) }
        }

        private func offset(_ row: Int, _ column: Int) -> Int {
            view.isTransposed ? column * view.rowStride + row : row * view.rowStride + column
        }

        /// Whether the gaps between the rows still hold NaN.
        var paddingIsUntouched: Bool {
            let (lines, length) = view.isTransposed ? (view.columns, view.rows) : (view.rows, view.columns)
            return (0..<lines).allSatisfy { line in
                (length..<view.rowStride).allSatisfy {
                    Matrix.load(view.type, view.address, line * view.rowStride + $0).isNaN
                }
            }
        }

        static func load(_ type: ElementType, _ address: UnsafeMutableRawPointer, _ index: Int) -> Float {
            type == .f32
                ? address.assumingMemoryBound(to: Float.self)[index]
                : address.assumingMemoryBound(to: BFloat16.self)[index].float
        }

        static func store(_ value: Float, _ type: ElementType, _ address: UnsafeMutableRawPointer, _ index: Int) {
            if type == .f32 {
                address.assumingMemoryBound(to: Float.self)[index] = value
            } else {
                address.assumingMemoryBound(to: BFloat16.self)[index] = BFloat16(value)
            }
        }
    }

    struct Types: CustomTestStringConvertible, Sendable {
        let input, output: ElementType
        let accumulate: Bool
        var testDescription: String { "\(input) to \(output)\(accumulate ? ", added" : "")" }

        static let all = [
            Types(input: .f32, output: .f32, accumulate: false), Types(input: .f32, output: .f32, accumulate: true),
            Types(input: .bf16, output: .f32, accumulate: false), Types(input: .bf16, output: .f32, accumulate: true),
            Types(input: .bf16, output: .bf16, accumulate: false),
        ]
    }

    static let shapes = [
        (1, 1, 1), (1, 64, 33), (2, 5, 3), (17, 1, 9), (31, 33, 65), (64, 64, 64), (130, 257, 48), (257, 129, 255),
        (1, 300, 500), (3, 1000, 257), (4, 63, 130), (49, 65, 1100), (1030, 17, 20), (0, 4, 4), (4, 0, 4), (4, 4, 0),
    ]

    /// Everything that can multiply this type here.
    static func backends(_ type: ElementType) -> [Matmul.Backend] {
        switch type {
        case .f32: tf_gemm_is_available(0) != 0 ? [.openBLAS, .kernels] : [.openBLAS]
        default:
            (CPUReport.hasBF16Units ? [.widened, .oneDNN] : [.widened])
                + (tf_gemm_is_available(1) != 0 ? [.kernels] : [])
        }
    }

    /// The elements by rows, in double precision.
    static func doubles(_ matrix: Matrix) -> [Double] {
        (0..<matrix.view.rows).flatMap { row in
            (0..<matrix.view.columns).map { Double(matrix[row, $0]) }
        }
    }

    static func product(_ a: [Double], _ b: [Double], _ m: Int, _ n: Int, _ k: Int) -> [Double] {
        var result = [Double](repeating: 0, count: m * n)
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                result.withUnsafeMutableBufferPointer { c in
                    for i in 0..<m {
                        for l in 0..<k {
                            let factor = a[i &* k &+ l]
                            for j in 0..<n { c[i &* n &+ j] += factor * b[l &* n &+ j] }
                        }
                    }
                }
            }
        }
        return result
    }

    @Test(arguments: Types.all)
    func agreesWithADoubleLoop(types: Types) {
        for (m, n, k) in Self.shapes {
            for variant in 0..<4 {
                let a = Matrix(m, k, types.input, transposed: variant & 1 == 1, padding: variant * 3, seed: 1)
                let b = Matrix(k, n, types.input, transposed: variant & 2 == 2, padding: variant, seed: 2)
                let product = Self.product(Self.doubles(a), Self.doubles(b), m, n, k)
                let tolerance = types.output == .bf16 ? 4e-3 : 2e-6
                for (threads, backend) in [1, 3].flatMap({ t in Self.backends(types.input).map { (t, $0) } }) {
                    let matmul = Matmul(pool: ThreadPool(threads: threads), f32: backend, bf16: backend)
                    let c = Matrix(m, n, types.output, padding: variant * 5, seed: 3)
                    let before = Self.doubles(c)
                    matmul.multiply(a.view, b.view, into: c.view, accumulate: types.accumulate)
                    let wrong = zip(Self.doubles(c), zip(before, product)).first { value, other in
                        let expected = other.1 + (types.accumulate ? other.0 : 0)
                        return !(abs(value - expected) <= tolerance * (abs(expected) + Double(k).squareRoot() + 1))
                    }
                    let comment = Comment(
                        rawValue: "\(m)x\(n)x\(k), variant \(variant), \(backend), \(threads) threads")
                    let isRight = wrong == nil
                    #expect(isRight, comment)
                    #expect(c.paddingIsUntouched, comment)
                }
            }
        }
    }

    @Test(arguments: Types.all)
    func notANumberPropagates(types: Types) {
        for backend in Self.backends(types.input) {
            let matmul = Matmul(pool: ThreadPool(threads: 2), f32: backend, bf16: backend)
            for (m, n, k) in [(1, 40, 70), (66, 70, 130)] {
                let a = Matrix(m, k, types.input, seed: 1)
                let b = Matrix(k, n, types.input, transposed: true, seed: 2)
                let c = Matrix(m, n, types.output, seed: 3)
                a[m - 1, k / 2] = .nan
                b[k - 1, 3] = .infinity
                matmul.multiply(a.view, b.view, into: c.view, accumulate: types.accumulate)
                #expect((0..<n).allSatisfy { c[m - 1, $0].isNaN })
                #expect((0..<(m - 1)).allSatisfy { !c[$0, 3].isFinite && c[$0, 4].isFinite })
            }
        }
    }

    @Test(arguments: [(64, 2), (192, 770), (128, 1100), (320, 48)])
    func packedWeightsGiveTheSameBits(outputs: Int, inputs: Int) {
        let weight = Tensor([outputs, inputs], .bf16, allocator: CachingAllocator())
        let values = Matrix(outputs, inputs, .bf16, seed: 2)
        for threads in [1, 3] {
            weight.bytes.copyMemory(from: UnsafeRawBufferPointer(start: values.view.address, count: weight.byteCount))
            let matmul = Matmul(pool: ThreadPool(threads: threads), f32: .openBLAS, bf16: .kernels)
            let rowCounts = [1, 4, 7, 200]
            let a = rowCounts.map { Matrix($0, inputs, .bf16, seed: 1) }
            func products(_ b: MatrixView, _ type: ElementType) -> [[Double]] {
                a.map {
                    let c = Matrix($0.view.rows, outputs, type, padding: 1, seed: 3)
                    matmul.multiply($0.view, b, into: c.view, accumulate: type == .f32)
                    return Self.doubles(c)
                }
            }
            guard tf_gemm_is_available(1) != 0 else {
                #expect(!Matmul(pool: ThreadPool(threads: threads)).pack(weight))
                continue
            }
            let plain = [ElementType.f32, .bf16].map { products(MatrixView(weight).transposed, $0) }
            #expect(matmul.pack(weight))
            let packed = [ElementType.f32, .bf16].map { products(MatrixView(transposeOfPacked: weight), $0) }
            for (plain, packed) in zip(plain.joined(), packed.joined()) {
                // A few rows are multiplied by kernels of their own, unless the weight is packed.
                if plain.count > Int(TF_FEW_ROWS) * outputs {
                    #expect(plain == packed)
                } else {
                    #expect(zip(plain, packed).allSatisfy { abs($0 - $1) <= 0.01 * (1 + abs($0)) })
                }
            }
        }
    }

    @Test func onlyWholePanelsOfPairsArePacked() {
        let matmul = Matmul(pool: ThreadPool(threads: 2))
        for (shape, type) in [([65, 64], ElementType.bf16), ([64, 63], .bf16), ([64, 64], .f32)] {
            let weight = Tensor(shape, type, allocator: CachingAllocator())
            for index in weight.bytes.indices { weight.bytes[index] = UInt8(truncatingIfNeeded: index * 7) }
            let before = Array(weight.bytes)
            #expect(!matmul.pack(weight))
            #expect(Array(weight.bytes) == before)
        }
    }

    @Test func productsInsideARegionRunOnTheirThread() {
        let pool = ThreadPool(threads: 3)
        let matmul = Matmul(pool: pool)
        for type in [ElementType.f32, .bf16] {
            let a = Matrix(120, 64, type, seed: 1), b = Matrix(64, 90, type, seed: 2)
            let whole = Matrix(120, 90, .f32, seed: 3), pieces = Matrix(120, 90, .f32, seed: 4)
            matmul.multiplyOnThisThread(a.view, b.view, into: whole.view)
            pool.tasks(12) { task, _ in
                let rows = task * 10..<(task + 1) * 10
                matmul.multiplyOnThisThread(a.view.slice(rows: rows), b.view, into: pieces.view.slice(rows: rows))
            }
            for i in 0..<120 {
                for j in 0..<90 { #expect(abs(whole[i, j] - pieces[i, j]) < 1e-5) }
            }
        }
    }
}
