import Glibc
import Testing

@testable import TransfusionCore

@Suite struct SpanAttentionKernelTests {
    /// Intervals of some kind, and how many keys there are.
    struct Mask: CustomTestStringConvertible, Sendable {
        let name: String
        let spans: VisibleSpans
        let keyCount: Int
        var testDescription: String { name }

        init(_ name: String, _ intervals: [Range<Int>], keyCount: Int? = nil) {
            self.name = name
            spans = VisibleSpans(
                start: intervals.map { Int32($0.lowerBound) }, end: intervals.map { Int32($0.upperBound) })
            self.keyCount = keyCount ?? intervals.count
        }

        static let all = [
            Mask("one row", [0..<1]),
            Mask("causal text", (0..<150).map { 0..<$0 + 1 }),
            Mask("text, images and documents", interleaved),
            Mask("short documents", (0..<700).map { $0 / 70 * 70..<$0 + 1 }),
            Mask("new rows against a cache", (0..<37).map { 5..<600 + $0 }, keyCount: 801),
            Mask("one new row", [3..<515], keyCount: 515),
            Mask("few new rows", (0..<3).map { 130 * $0..<200 * $0 + 150 }, keyCount: 600),
            Mask("empty intervals", (0..<140).map { $0 % 3 == 0 ? 7..<7 : $0 / 2..<$0 + 1 }),
            Mask("nothing visible", [0..<0, 0..<0, 4..<4], keyCount: 9),
            Mask("any interval", random),
        ]

        private static var interleaved: [Range<Int>] {
            var intervals: [Range<Int>] = []
            for document in 0..<3 {
                let start = intervals.count
                for image in 0..<2 {
                    for _ in 0..<(21 + 30 * document) { intervals.append(start..<intervals.count + 1) }
                    let end = intervals.count + 64
                    for _ in 0..<(image == 0 ? 64 : 0) { intervals.append(start..<end) }
                }
            }
            return intervals
        }

        private static var random: [Range<Int>] {
            var state: UInt64 = 11
            func next(_ bound: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int(state >> 33) % bound
            }
            return (0..<300).map { _ in
                let start = next(300)
                return start..<start + next(301 - start)
            }
        }
    }

    /// Queries, keys and values as they lie in one fused product, and what belongs to them.
    struct Problem {
        let shape: SpanAttentionShape
        let mask: Mask
        let type: ElementType
        let query, key, value, output, outputGradient: Tensor
        let gradients: [Tensor]
        let width: Int
        /// Of keys and values.
        let keyWidth: Int

        init(_ mask: Mask, heads: Int, keyValueHeads: Int? = nil, headWidth: Int, type: ElementType) {
            self.mask = mask
            self.type = type
            let width = heads * headWidth, keyWidth = (keyValueHeads ?? heads) * headWidth
            self.width = width
            self.keyWidth = keyWidth
            shape = SpanAttentionShape(
                heads: heads, keyValueHeads: keyValueHeads, headWidth: headWidth,
                scale: 1 / Float(headWidth).squareRoot(), spans: mask.spans)
            let allocator = CachingAllocator()
            var state: UInt64 = UInt64(headWidth)
            // Three columns more than needed stand for what else lies in a row.
            func tensor(_ rows: Int, _ width: Int, random: Bool) -> Tensor {
                let tensor = Tensor([rows, width + 6], type, allocator: allocator)
                for i in 0..<tensor.count {
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    let value = random ? (Float(state >> 40) / Float(1 << 24) - 0.5) * 3 : Float.nan
                    if type == .f32 { tensor.f32[i] = value } else { tensor.bf16[i] = BFloat16(value) }
                }
                return tensor
            }
            let queries = mask.spans.queryCount
            query = tensor(queries, width, random: true)
            key = tensor(mask.keyCount, keyWidth, random: true)
            value = tensor(mask.keyCount, keyWidth, random: true)
            outputGradient = tensor(queries, width, random: true)
            output = tensor(queries, width, random: false)
            gradients = [
                tensor(queries, width, random: false), tensor(mask.keyCount, keyWidth, random: false),
                tensor(mask.keyCount, keyWidth, random: false),
            ]
        }

        func view(_ tensor: Tensor) -> MatrixView { MatrixView(tensor).slice(columns: 0..<tensor.width - 6) }

        @discardableResult
        func run(_ kernel: SpanAttentionKernel) -> [Float] {
            let logSumExp = Tensor(
                [shape.heads, shape.spans.queryCount], .f32, allocator: CachingAllocator())
            kernel.forward(
                shape, query: view(query), key: view(key), value: view(value), into: view(output),
                logSumExp: logSumExp)
            kernel.backward(
                shape, query: view(query), key: view(key), value: view(value), output: view(output),
                logSumExp: logSumExp, outputGradient: view(outputGradient), queryGradient: view(gradients[0]),
                keyGradient: view(gradients[1]), valueGradient: view(gradients[2]))
            return logSumExp.floats()
        }

        /// The columns of the attention out of a tensor's rows.
        func values(_ tensor: Tensor) -> [Double] {
            let all = tensor.floats()
            let columns = tensor.width - 6
            return (0..<tensor.rows).flatMap { row -> [Double] in
                let start = row * tensor.width
                return all[start..<start + columns].map(Double.init)
            }
        }
    }

    /// The definition, with all scores, in double precision.
    struct Reference {
        var output, queryGradient, keyGradient, valueGradient: [Double]
        var logSumExp: [Double]

        init(_ problem: Problem) {
            let q = problem.values(problem.query), k = problem.values(problem.key), v = problem.values(problem.value)
            let g = problem.values(problem.outputGradient)
            let width = problem.width, head = problem.shape.headWidth, scale = Double(problem.shape.scale)
            let keyWidth = problem.keyWidth, share = problem.shape.heads / problem.shape.keyValueHeads
            let spans = problem.mask.spans, queries = spans.queryCount
            output = [Double](repeating: 0, count: q.count)
            queryGradient = output
            keyGradient = [Double](repeating: 0, count: k.count)
            valueGradient = keyGradient
            logSumExp = [Double](repeating: -.infinity, count: problem.shape.heads * queries)
            for h in 0..<problem.shape.heads {
                for i in 0..<queries where spans.end[i] > spans.start[i] {
                    let visible = Int(spans.start[i])..<Int(spans.end[i])
                    let row = i * width + h * head
                    let scores = visible.map { j in
                        (0..<head).reduce(0.0) { $0 + q[row + $1] * k[j * keyWidth + h / share * head + $1] } * scale
                    }
                    let largest = scores.max() ?? 0
                    let weights = scores.map { exp($0 - largest) }
                    let total = weights.reduce(0, +)
                    logSumExp[h * queries + i] = largest + log(total)
                    var products: [Double] = []
                    for (weight, j) in zip(weights, visible) {
                        let column = j * keyWidth + h / share * head
                        var product = 0.0
                        for c in 0..<head {
                            output[row + c] += weight / total * v[column + c]
                            valueGradient[column + c] += weight / total * g[row + c]
                            product += g[row + c] * v[column + c]
                        }
                        products.append(product)
                    }
                    let mean = zip(weights, products).reduce(0) { $0 + $1.0 / total * $1.1 }
                    for ((weight, product), j) in zip(zip(weights, products), visible) {
                        let column = j * keyWidth + h / share * head
                        let gradient = weight / total * (product - mean) * scale
                        for c in 0..<head {
                            queryGradient[row + c] += gradient * k[column + c]
                            keyGradient[column + c] += gradient * q[row + c]
                        }
                    }
                }
            }
        }
    }

    /// ‖a − b‖ relative to ‖b‖, absolute where b is small: some gradients cancel to zero.
    static func distance(_ a: [Double], _ b: [Double]) -> Double {
        let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
        let size = b.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return difference / max(size, 5)
    }

    static let instructionSets: [String] = {
        let best = CPUReport().instructionSet
        let all = ["baseline", "x86-64-v3", "x86-64-v4"]
        return Array(all[...(all.firstIndex(of: best) ?? 0)])
    }()

    /// Heads of queries and of keys, with their width.
    static let cuts = [(2, 2, 16), (2, 2, 64), (6, 2, 64), (3, 1, 16), (2, 2, 80), (2, 1, 128)]

    @Test(arguments: Mask.all, [ElementType.f32, .bf16])
    func agreesWithTheDefinition(mask: Mask, type: ElementType) {
        for (heads, keyHeads, headWidth) in Self.cuts where headWidth == 64 || mask.spans.queryCount <= 150 {
            let problem = Problem(mask, heads: heads, keyValueHeads: keyHeads, headWidth: headWidth, type: type)
            let reference = Reference(problem)
            for instructionSet in Self.instructionSets {
                let kernel = SpanAttentionKernel(
                    pool: ThreadPool(threads: 2), instructionSet: instructionSet)
                let logSumExp = problem.run(kernel)
                let tolerance = type == .f32 ? 3e-6 : 8e-3
                let comment = Comment(rawValue: "\(heads)/\(keyHeads) heads of \(headWidth), \(instructionSet)")
                let results = [problem.output] + problem.gradients
                let expected = [
                    reference.output, reference.queryGradient, reference.keyGradient, reference.valueGradient,
                ]
                for (result, expected) in zip(results, expected) {
                    #expect(Self.distance(problem.values(result), expected) < tolerance, comment)
                }
                for (value, expected) in zip(logSumExp, reference.logSumExp) {
                    #expect(Double(value) == expected || abs(Double(value) - expected) < 1e-5, comment)
                }
                // What lies beside the head's columns is not written.
                for result in results {
                    let all = result.floats()
                    let untouched = (0..<result.rows).allSatisfy { row in
                        all[(row + 1) * result.width - 6..<(row + 1) * result.width].allSatisfy { $0.isNaN }
                    }
                    #expect(untouched, comment)
                }
            }
        }
    }

    @Test(arguments: [ElementType.f32, .bf16])
    func tilesOutsideAreNotTouched(type: ElementType) {
        // Two documents; every key that nobody sees, and all of the second document's values, are NaN.
        let intervals = (0..<300).map { $0 < 200 ? 40..<max($0, 40) + 1 : 400..<$0 + 201 }
        let mask = Mask("holes", intervals, keyCount: 640)
        let problem = Problem(mask, heads: 1, headWidth: 64, type: type)
        let clean = Problem(mask, heads: 1, headWidth: 64, type: type)
        for row in 0..<640 where !(40..<200).contains(row) {
            for column in 0..<64 {
                for tensor in [problem.key, problem.value] {
                    let index = row * tensor.width + column
                    if type == .f32 { tensor.f32[index] = .nan } else { tensor.bf16[index] = BFloat16(.nan) }
                }
            }
        }
        let kernel = SpanAttentionKernel(pool: ThreadPool(threads: 2))
        problem.run(kernel)
        clean.run(kernel)
        let output = problem.values(problem.output)
        let secondDocumentIsNaN = output[(200 * 64)...].allSatisfy { $0.isNaN }
        #expect(secondDocumentIsNaN)
        for (found, expected) in zip([problem.output] + problem.gradients, [clean.output] + clean.gradients) {
            let firstDocumentIsEqual =
                problem.values(found)[..<(200 * 64)] == clean.values(expected)[..<(200 * 64)]
            #expect(firstDocumentIsEqual)
        }
    }

    @Test(arguments: [ElementType.f32, .bf16])
    func threadsDoNotChangeTheResult(type: ElementType) {
        let mask = Mask.all[2]
        let first = Problem(mask, heads: 4, keyValueHeads: 2, headWidth: 64, type: type)
        first.run(SpanAttentionKernel(pool: ThreadPool(threads: 1)))
        for threads in [2, 5] {
            let other = Problem(mask, heads: 4, keyValueHeads: 2, headWidth: 64, type: type)
            other.run(SpanAttentionKernel(pool: ThreadPool(threads: threads)))
            for (a, b) in zip([first.output] + first.gradients, [other.output] + other.gradients) {
                let isEqual = first.values(a) == other.values(b)
                #expect(isEqual)
            }
        }
    }

    @Test func groupsAreIndependent() {
        let spans = Mask.all[3].spans
        #expect(spans.groups.count > 1)
        #expect(spans.groups.first?.queries.lowerBound == 0 && spans.groups.last?.queries.upperBound == 700)
        for (group, next) in zip(spans.groups, spans.groups.dropFirst()) {
            #expect(group.queries.upperBound == next.queries.lowerBound)
            #expect(group.keys.upperBound == next.keys.lowerBound)
        }
        for group in spans.groups {
            for query in group.queries {
                #expect(group.keys.contains(Int(spans.start[query])) && Int(spans.end[query]) <= group.keys.upperBound)
            }
        }
        #expect(Mask.all[1].spans.groups.count == 1)
    }
}
