import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import TransfusionParallel
import _TestUtilities

@testable import TransfusionTraining

@Suite struct CodebookUpkeepTests {
    private static func configuration(_ form: String) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: """
                task: autoencoder
                autoencoder: {preset: small, kind: vq, \(form)}
                data: {path: x}
                schedule: {steps: 10, warmup_steps: 0}
                batch: {global_sequences: 4}
                parallel: {reduction: elastic}
                """)
    }

    /// A codebook with its optimizer and its averages.
    private struct Codebook {
        let codes: Parameter
        let optimizer: AdamW
        let upkeep: CodebookUpkeep
        let context: Context

        init(_ values: Fixture.Values, _ configuration: RunConfiguration, averageDecay: Float? = nil) throws {
            let context = Context.forTests(threads: 1)
            self.context = context
            let isFrozen = configuration.autoencoder.codebook == .ema
            let builder = ParameterBuilder(rules: ParameterRules(frozen: isFrozen ? ["*"] : []))
            let codes = builder.parameter("codes", values.shape, .zeros)
            self.codes = codes
            let store = ParameterStore(builder, type: .f32, allocator: context.allocator) {
                Tensor([$0], .f32, allocator: context.allocator)
            }
            optimizer = AdamW(
                store, settings: AdamW.Settings(averageDecay: averageDecay), pool: context.pool,
                allocator: context.allocator)
            values.floats.withUnsafeBufferPointer { codes.writeMaster($0, at: 0) }
            upkeep = CodebookUpkeep(codes, configuration, context)
            upkeep.begin()
        }

        /// One picture a micro-batch.
        func take(_ features: [Float], codes found: [Int32], step: Int, picture: Int) {
            let codes = context.empty([found.count], .i32)
            for (index, code) in found.enumerated() { codes.i32[index] = code }
            let width = self.codes.globalShape[1]
            upkeep.take(
                codes, of: context.tensor(features, [found.count, width]),
                BatchAddress(step: step, sequences: picture..<picture + 1))
        }

        func average(_ name: String) -> [Float]? {
            upkeep.player.parameters["codebook." + name]?.value.floats()
        }
    }

    @Test(arguments: [1, 2, 4], ["average", "average_unit"])
    func averagesAgreeWithPyTorch(_ ranks: Int, _ name: String) throws {
        let fixture = Fixture.one("codebook", name)
        let form = "codebook: ema, codebook_decay: \(fixture.scalar("decay"))"
        let configuration = try Self.configuration(form + (name == "average" ? "" : ", code_norm: l2"))
        let shape = fixture["z"].shape, pictures = 4, rows = shape[1] / pictures, width = shape[2]
        let found = try ThreadGroup.run(ranks: ranks) { group in
            let book = try Codebook(fixture["codes"], configuration)
            var differences: [Double] = []
            for step in 0..<shape[0] {
                for picture in pictures * group.rank / ranks..<pictures * (group.rank + 1) / ranks {
                    let first = step * shape[1] + picture * rows
                    var features = Array(fixture["z"].floats[first * width..<(first + rows) * width])
                    if name == "average_unit" {
                        for row in 0..<rows {
                            let part = row * width..<(row + 1) * width
                            let length = features[part].reduce(0) { $0 + $1 * $1 }.squareRoot()
                            for index in part { features[index] /= length }
                        }
                    }
                    book.take(
                        features, codes: Array(fixture["found"].integers[first..<first + rows]), step: step,
                        picture: picture)
                }
                _ = try book.upkeep.conclude(step: step, optimizer: book.optimizer, group: group)
                let size = book.codes.globalCount
                differences.append(
                    relativeError(
                        book.codes.value.floats(), Array(fixture["after"].floats[step * size..<(step + 1) * size])))
            }
            return (differences, book.average("use"), book.average("sums"), book.codes.value.floats())
        }
        for (differences, use, sums, codes) in found {
            #expect(differences.count == shape[0] && differences.allSatisfy { $0 < 2e-6 }, "\(differences)")
            #expect(relativeError(try #require(use), fixture["use"].floats) < 2e-6)
            #expect(relativeError(try #require(sums), fixture["sums"].floats) < 2e-6)
            #expect(codes == found[0].3)
        }
    }

    /// Two of eight codes are used. The others become features of the batch, each another, the same on any ranks.
    @Test(arguments: ["gradient", "ema"]) func unusedCodesBecomeFeatures(_ update: String) throws {
        let configuration = try Self.configuration(
            "codebook: \(update), codebook_decay: 0.5, revive_codes_below: 0.3")
        let codes = Fixture.Values(Context.forTests().normal([8, 3], seed: 1))
        @Sendable func features(_ step: Int, _ picture: Int) -> [Float] {
            var values = Context.forTests().normal([2, 3], seed: UInt64(10 * step + picture)).floats()
            values[0] = -0.0
            return values
        }
        func revive(_ ranks: Int) throws -> [(codes: [Float], revived: [Double], use: [Float], average: [Float]?)] {
            try ThreadGroup.run(ranks: ranks) { group in
                let book = try Codebook(codes, configuration, averageDecay: 0.9)
                var revived: [Double] = []
                for step in 0..<3 {
                    for picture in 4 * group.rank / ranks..<4 * (group.rank + 1) / ranks {
                        book.take(features(step, picture), codes: [2, 5], step: step, picture: picture)
                    }
                    let measures = try book.upkeep.conclude(step: step, optimizer: book.optimizer, group: group)
                    #expect(measures.map(\.name) == ["codes_used", "code_perplexity", "codes_revived"])
                    #expect(measures[0].mean == 0.25 && abs(measures[1].mean - 2) < 1e-12)
                    revived.append(measures[2].mean)
                }
                let average = book.optimizer.state(.average, of: book.codes).map(Array.init)
                return (book.codes.value.floats(), revived, try #require(book.average("use")), average)
            }
        }
        let one = try revive(1)[0]
        // Uses of codes that nobody takes: 1, 0.5, 0.25.
        #expect(one.revived == [0, 6, 0])
        for other in try revive(2) + revive(4) {
            #expect(other.codes.map(\.bitPattern) == one.codes.map(\.bitPattern) && other.use == one.use)
        }
        let candidates = (0..<4).flatMap { picture in
            stride(from: 0, to: 6, by: 3).map { Array(features(1, picture)[$0..<$0 + 3]) }
        }
        let places = [0, 1, 3, 4, 6, 7].map { code in
            candidates.firstIndex { relativeError(Array(one.codes[code * 3..<(code + 1) * 3]), $0) < 1e-4 }
        }
        #expect(places.allSatisfy { $0 != nil } && Set(places).count == 6, "\(places)")
        if update == "gradient" {
            #expect(one.average?[..<3] == one.codes[..<3])
            #expect(Array(one.codes[6..<9]) == Array(codes.floats[6..<9]))
        }
    }

    @Test func momentsOfReplacedCodesAreForgotten() throws {
        let book = try Codebook(
            Fixture.Values(shape: [3, 2], floats: [1, 2, 3, 4, 5, 6]), try Self.configuration("code_norm: none"))
        let store = book.optimizer.store
        store.gradients?.fill(1)
        book.optimizer.update(step: 0, learningRate: 0.1, gradientFactor: 1)
        let before = book.codes.value.floats()
        book.optimizer.overwrite(book.codes, at: 2, with: [7, 8])
        let after: [Float] = [before[0], before[1], 7, 8, before[4], before[5]]
        #expect(book.codes.value.floats() == after)
        for kind in [AdamW.State.firstMoment, .secondMoment] {
            let moments = Array(try #require(book.optimizer.state(kind, of: book.codes)))
            #expect(moments[2...3] == [0, 0] && moments[0] > 0 && moments[5] > 0)
        }
    }
}
