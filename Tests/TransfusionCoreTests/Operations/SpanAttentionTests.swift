import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct SpanAttentionTests {
    @Test(arguments: Fixture.all("span_attention"), computingTypes)
    func agreesWithPyTorch(_ fixture: Fixture, type: ElementType) throws {
        // Scores of a hundred and more amplify the rounding of q and k to bf16 beyond any use of a comparison.
        guard !(type == .bf16 && fixture.name == "large") else { return }
        let context = Context.forTests(type)
        let heads = Int(fixture["heads"].integers[0])
        let headWidth = fixture["q"].width / heads
        let rows = AttentionRows(
            positions: fixture["positions"].integers, visibleStart: fixture["visible_start"].integers,
            visibleEnd: fixture["visible_end"].integers, cache: nil, slots: [], context)
        let x = context.tensor(.joined([fixture["q"], fixture["k"], fixture["v"]]))
        let y = context.record {
            context.attention(x, rows, RotaryTable(headWidth: headWidth, base: 10000))
        }
        #expect(y.type == type)
        #expect(relativeError(y.floats(), fixture["o"].floats) < 2 * type.tolerance)
        let gradient = Fixture.Values(try #require(try context.gradients(of: y, fixture["do"])[x]))
        let width = heads * headWidth
        // With one key the weights are constant and the gradients of q and k vanish.
        let scale = fixture["dv"].floats.map { abs($0) }.max() ?? 0
        for (part, name) in ["dq", "dk", "dv"].enumerated() {
            let found = gradient.columns(part * width..<(part + 1) * width)
            let expected = fixture[name].floats
            if expected.allSatisfy({ $0 == 0 }) {
                #expect(found.allSatisfy { abs($0) < Float(type.tolerance) * scale }, "\(name)")
            } else {
                #expect(relativeError(found, expected) < 5 * type.tolerance, "\(name)")
            }
        }
    }

    @Test(arguments: [1, 2, 3]) func documentsAreIndependentOfTheirNeighbours(threads: Int) throws {
        let context = Context.forTests(threads: threads)
        let lengths = [130, 1, 257], headWidth = 8
        let x = context.normal([388, 48], seed: 1)
        let rotary = RotaryTable(headWidth: headWidth, base: 10000)
        let layout = try RowLayout(
            tokens: (0..<388).map { 150..<214 ~= $0 ? -1 : 5 }, documentStarts: [0, 130, 131], imageStarts: [150],
            patchesPerImage: 64, beginOfImage: 90, endOfImage: 91)
        // The rotation is done in place.
        let values = x.floats()
        let whole = context.attention(x, AttentionRows(layout, context), rotary).floats()
        var start = 0
        for length in lengths {
            let alone = context.tensor(Array(values[start * 48..<(start + length) * 48]), [length, 48])
            let rows = AttentionRows(
                positions: Array(layout.positions[start..<start + length]),
                visibleStart: layout.visibleStart[start..<start + length].map { $0 - Int32(start) },
                visibleEnd: layout.visibleEnd[start..<start + length].map { $0 - Int32(start) }, cache: nil, slots: [],
                context)
            let y = context.attention(alone, rows, rotary)
            #expect(relativeError(y.floats(), Array(whole[start * 16..<(start + length) * 16])) < 2e-6)
            start += length
        }
    }

    @Test func whatIsNotVisibleHasNoInfluence() throws {
        let context = Context.forTests()
        let rotary = RotaryTable(headWidth: 8, base: 10000)
        func attend(_ values: [Float]) -> [Float] {
            let rows = AttentionRows(
                positions: [0, 1, 2, 0, 1, 2], visibleStart: [0, 0, 0, 3, 3, 3], visibleEnd: [1, 2, 3, 4, 5, 6],
                cache: nil, slots: [], context)
            return context.attention(context.tensor(values, [6, 24]), rows, rotary).floats()
        }
        let values = context.normal([6, 24], seed: 1).floats()
        let before = attend(values)
        // A later row of the document may be huge.
        var changed = values
        for i in 2 * 24..<3 * 24 { changed[i] *= 1e15 }
        let after = attend(changed)
        #expect(Array(before[..<16]) == Array(after[..<16]) && Array(before[24...]) == Array(after[24...]))
        for i in 2 * 24..<3 * 24 { changed[i] = .nan }
        #expect(attend(changed)[16..<24].allSatisfy { $0.isNaN })
    }
}

extension Context {
    /// Rotary embedding and attention, as a block has them.
    fileprivate func attention(_ queryKeyValue: Tensor, _ rows: AttentionRows, _ rotary: RotaryTable) -> Tensor {
        let count = queryKeyValue.width / 3 / rotary.headWidth
        let heads = AttentionHeads(query: count, keyValue: count, width: rotary.headWidth)
        return spanAttention(rotaryEmbedding(queryKeyValue, rows, heads, rotary), rows, heads, cache: nil)
    }
}
