public import TransfusionCore
public import TransfusionModels

/// Measures the kernels that a training step spends its time in, alone.
public struct KernelBenchmark {
    /// What a kernel reached.
    public struct Rate: Sendable, Codable {
        public var kernel: String
        public var milliseconds: Double
        /// 10⁹ floating-point operations (`GFLOP/s`) or bytes (`GB/s`) per second.
        public var rate: Double
        public var unit: String
        /// Of the rate of large products, measured just before.
        public var shareOfPeak: Double
    }

    /// What was measured.
    public struct Report: Sendable, Codable {
        public var type: String
        public var threads: Int
        /// 10⁹ floating-point operations per second of large products in f32, and in bf16.
        public var peakF32: Double
        public var peakBF16: Double
        /// 10⁹ bytes per second that a copy reads and writes.
        public var copyBandwidth: Double
        public var rates: [Rate]
    }

    private let context: Context
    private let preset: ModelPreset
    private let repetitions: Int

    /// - Parameter threads: As many as there are processors unless given.
    public init(preset: ModelPreset, type: ElementType, threads: Int?, repetitions: Int) {
        self.preset = preset
        self.repetitions = repetitions
        context = Context(pool: ThreadPool(threads: threads ?? CPUReport().cpuCount), type: type)
    }

    public func run() -> Report {
        let peaks = [ElementType.f32, .bf16].map {
            Context(pool: context.pool, type: $0).measuredPeakRate() / 1e9
        }
        let bandwidth = copyBandwidth()
        var rates: [Rate] = []
        let sizes = preset.sizes, rows = 1024
        for (name, inputs, outputs) in [
            ("q, k, v", sizes.width, 3 * sizes.width), ("o", sizes.width, sizes.width),
            ("gate, up", sizes.width, 2 * sizes.feedForward), ("down", sizes.feedForward, sizes.width),
        ] {
            let operations = 2.0 * Double(rows * inputs * outputs), peak = context.measuredPeakRate() / 1e9
            for (product, seconds) in products(rows: rows, inputs: inputs, outputs: outputs) {
                rates.append(
                    Rate(
                        kernel: "\(name): \(product)", milliseconds: seconds * 1e3, rate: operations / seconds / 1e9,
                        unit: "GFLOP/s", shareOfPeak: operations / seconds / 1e9 / peak))
            }
        }
        for (name, layout) in Self.attentionLayouts {
            // 2 products forward, 5 backward: the scores are computed again.
            let pairs = Double(zip(layout.start, layout.end).reduce(0) { $0 + Int($1.1 - $1.0) })
            let peak = context.measuredPeakRate() / 1e9, seconds = attention(layout)
            for (pass, products, seconds) in [("forward", 2.0, seconds.forward), ("backward", 5.0, seconds.backward)] {
                let rate = products * 2 * pairs * Double(sizes.width) / seconds / 1e9
                rates.append(
                    Rate(
                        kernel: "attention, \(name), \(pass)", milliseconds: seconds * 1e3, rate: rate,
                        unit: "GFLOP/s", shareOfPeak: rate / peak))
            }
        }
        return Report(
            type: context.type.rawValue, threads: context.pool.threadCount, peakF32: peaks[0], peakBF16: peaks[1],
            copyBandwidth: bandwidth, rates: rates)
    }

    /// Intervals of 4096 rows: what they show is a half, an eighth … of all pairs.
    private static let attentionLayouts: [(name: String, spans: VisibleSpans)] = [
        ("4096 rows of text", spans(documents: 1, images: 0)),
        ("4096 rows, 8 images of 256", spans(documents: 1, images: 8)),
        ("4 documents, 8 images", spans(documents: 4, images: 8)),
        ("16 documents of text", spans(documents: 16, images: 0)),
    ]

    private static func spans(documents: Int, images: Int) -> VisibleSpans {
        let rows = 4096, patches = 256
        let document = rows / documents
        var end = (0..<rows).map { Int32($0 + 1) }
        for image in 0..<images {
            let first = image * rows / images + (rows / images - patches) / 2
            for row in first..<first + patches { end[row] = Int32(first + patches) }
        }
        return VisibleSpans(start: (0..<rows).map { Int32($0 / document * document) }, end: end)
    }

    private func products(rows: Int, inputs: Int, outputs: Int) -> [(String, Double)] {
        let x = filled([rows, inputs]), w = filled([outputs, inputs]), dy = filled([rows, outputs])
        let y = empty([rows, outputs]), dx = empty([rows, inputs]), dw = empty([outputs, inputs], .f32)
        let matmul = Matmul(pool: context.pool)
        return [
            ("forward", median { matmul.multiply(MatrixView(x), MatrixView(w).transposed, into: MatrixView(y)) }),
            ("input gradient", median { matmul.multiply(MatrixView(dy), MatrixView(w), into: MatrixView(dx)) }),
            (
                "weight gradient",
                median {
                    matmul.multiply(
                        MatrixView(dy).transposed, MatrixView(x), into: MatrixView(dw), accumulate: true)
                }
            ),
        ]
    }

    private func attention(_ spans: VisibleSpans) -> (forward: Double, backward: Double) {
        let rows = spans.queryCount, width = preset.sizes.width, heads = preset.sizes.heads
        let shape = SpanAttentionShape(
            heads: heads, headWidth: width / heads, scale: 1 / Float(width / heads).squareRoot(), spans: spans)
        let kernel = SpanAttentionKernel(pool: context.pool)
        let operands = (0..<4).map { _ in filled([rows, width]) }
        let results = (0..<4).map { _ in empty([rows, width]) }
        func view(_ tensor: Tensor) -> MatrixView { MatrixView(tensor) }
        let logSumExp = empty([heads, rows], .f32)
        let forwardSeconds = median {
            kernel.forward(
                shape, query: view(operands[0]), key: view(operands[1]), value: view(operands[2]),
                into: view(results[0]), logSumExp: logSumExp)
        }
        let backwardSeconds = median {
            kernel.backward(
                shape, query: view(operands[0]), key: view(operands[1]), value: view(operands[2]),
                output: view(results[0]), logSumExp: logSumExp, outputGradient: view(operands[3]),
                queryGradient: view(results[1]), keyGradient: view(results[2]), valueGradient: view(results[3]))
        }
        return (forwardSeconds, backwardSeconds)
    }

    /// Of a buffer far beyond the caches, by all threads.
    private func copyBandwidth() -> Double {
        let count = 64 << 20
        let from = empty([count], .f32), to = empty([count], .f32)
        from.fill(1)
        to.fill(0)
        let source = from.f32.baseAddress!, target = to.f32.baseAddress!
        let parts = context.pool.threadCount
        let seconds = median {
            context.pool.parallel(parts) { range in
                for part in range {
                    let first = count / parts * part
                    (target + first).update(from: source + first, count: count / parts)
                }
            }
        }
        return 2 * Double(from.byteCount) / seconds / 1e9
    }

    private func empty(_ shape: [Int], _ type: ElementType? = nil) -> Tensor {
        Tensor(shape, type ?? context.type, allocator: context.allocator)
    }

    private func filled(_ shape: [Int]) -> Tensor {
        let tensor = empty(shape)
        tensor.fill(0.01)
        return tensor
    }

    private func median(_ body: () -> Void) -> Double {
        body()
        let clock = ContinuousClock()
        return (0..<repetitions).map { _ in clock.measure(body) / .seconds(1) }.sorted()[repetitions / 2]
    }
}
