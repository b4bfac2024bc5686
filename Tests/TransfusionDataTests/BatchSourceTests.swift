import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionData

@Suite struct BatchSourceTests {
    let synthetic: SyntheticDataset

    init() throws { synthetic = try SyntheticDataset() }

    func source(
        length: Int = 64, rows: Int = 6, seed: UInt64 = 7, _ change: (inout BatchSettings) -> Void = { _ in }
    ) throws -> BatchSource {
        var settings = BatchSettings(sequenceLength: length, globalSequences: rows, seed: seed)
        change(&settings)
        return try BatchSource(dataset: synthetic.dataset, settings: settings, model: synthetic.model)
    }

    /// The documents of a micro-batch as tokens.
    func documents(_ batch: MicroBatch) -> [[Int32]] {
        var documents: [[Int32]] = []
        for (token, position) in zip(batch.layout.tokens, batch.layout.positions) {
            if position == 0 { documents.append([]) }
            documents[documents.count - 1].append(token)
        }
        return documents
    }

    @Test func permutationsVisitEverythingOnce() {
        for count in [1, 2, 3, 4, 5, 37, 64, 65, 1000] {
            let orders = (0..<3).map { epoch in
                let shuffle = Permutation(count: count, seed: 1, purpose: .order, epoch: epoch)
                return (0..<count).map { shuffle($0) }
            }
            for order in orders { #expect(order.sorted() == Array(0..<count)) }
            if count > 30 { #expect(Set(orders).count == 3 && !orders.contains(Array(0..<count))) }
        }
    }

    @Test func everyPairAppearsOnceAnEpoch() throws {
        let source = try source()
        var seen: [Int: Int] = [:]
        var count = 0
        for step in 0..<2 * source.shape.steps {
            let batch = try source.microBatch(step: step, sequences: 0..<6)
            #expect(batch.imageIndices == Array(0..<batch.pairs.count))
            for pair in batch.pairs { seen[pair, default: 0] += 1 }
            count += batch.pairs.count
        }
        // Two blocks hold so many whole epochs, and a part of one more.
        #expect(count > 37 * 8)
        #expect(seen.count == 37 && seen.values.allSatisfy { [count / 37, count / 37 + 1].contains($0) })
    }

    @Test func documentsHaveTheirForm() throws {
        let source = try source()
        let model = synthetic.model
        let patches = [Int32](repeating: -1, count: 4)
        var orders = [0, 0, 0]
        for step in 0..<60 {
            let batch = try source.microBatch(step: step, sequences: 0..<6)
            #expect(batch.layout.count == 6 * 64)
            var image = 0
            for document in documents(batch) where document.contains(-1) {
                let pair = try synthetic.dataset.pair(batch.pairs[image])
                let caption = try synthetic.dataset.caption(pair)
                let (bos, eos, boi, eoi) = (
                    model.beginOfText, model.endOfText, model.beginOfImage, model.endOfImage
                )
                let forms = [
                    [bos] + caption + [boi] + patches + [eoi, eos], [bos, boi] + patches + [eoi] + caption + [eos],
                    [bos, boi] + patches + [eoi, eos],
                ]
                let form = try #require(forms.firstIndex(of: document))
                orders[form] += 1
                #expect(batch.timestepLimits[image] == (form == 1 ? 500 : 1000))
                let pixels = try synthetic.dataset.image(pair.image)
                #expect(Array(batch.images[image * pixels.count..<(image + 1) * pixels.count]) == pixels)
                image += 1
            }
            #expect(image == batch.layout.imageCount)
        }
        let total = Double(orders.reduce(0, +))
        // 90 % · 80 %, 90 % · 20 %, 10 %.
        #expect(abs(Double(orders[0]) / total - 0.72) < 0.06)
        #expect(abs(Double(orders[1]) / total - 0.18) < 0.06)
        #expect(abs(Double(orders[2]) / total - 0.10) < 0.03)
    }

    @Test func halfOfThePicturesAreMirroredAndAllElseStays() throws {
        let plain = try source(), mirrored = try source { $0.horizontalFlip = true }
        var turns: [Int: Set<Bool>] = [:]
        var count = (mirrored: 0, all: 0)
        for step in 0..<plain.shape.steps {
            let (before, after) = (
                try plain.microBatch(step: step, sequences: 0..<6),
                try mirrored.microBatch(step: step, sequences: 0..<6)
            )
            #expect(before.layout == after.layout && before.pairs == after.pairs)
            // Ranks see the same, as the draw belongs to the pair.
            let halves = try [0..<2, 2..<6].map { try mirrored.microBatch(step: step, sequences: $0).images }
            #expect(halves.flatMap(\.self) == after.images)
            for (image, pair) in after.pairs.enumerated() {
                let range = image * 192..<(image + 1) * 192
                let rows = stride(from: range.lowerBound, to: range.upperBound, by: 8)
                let turned = rows.flatMap { before.images[$0..<$0 + 8].reversed() }
                let isMirrored = Array(after.images[range]) == turned
                #expect(isMirrored || after.images[range] == before.images[range])
                turns[pair, default: []].insert(isMirrored)
                count.all += 1
                count.mirrored += isMirrored ? 1 : 0
            }
        }
        #expect(abs(Double(count.mirrored) / Double(count.all) - 0.5) < 0.1, "\(count)")
        #expect(turns.values.contains { $0.count == 2 })
        let heldOut = try BatchSource(
            dataset: synthetic.dataset, split: "held_out", settings: mirrored.settings, model: synthetic.model)
        let asItIs = try BatchSource(
            dataset: synthetic.dataset, split: "held_out", settings: plain.settings, model: synthetic.model)
        #expect(
            try heldOut.microBatch(step: 0, sequences: 0..<6).images
                == asItIs.microBatch(step: 0, sequences: 0..<6).images)
    }

    @Test func dropoutTakesTurns() throws {
        let source = try source()
        var dropped = [Int](repeating: 0, count: 37)
        var seen = 0
        for step in 0..<2 * source.shape.steps {
            let batch = try source.microBatch(step: step, sequences: 0..<6)
            let documents = documents(batch).filter { $0.contains(-1) }
            for (pair, document) in zip(batch.pairs, documents) where document.count == 8 { dropped[pair] += 1 }
            seen += batch.pairs.count
        }
        let turns = Double(seen) / 370
        #expect(turns > 3 && dropped.allSatisfy { abs(Double($0) - turns) <= 1 }, "\(dropped)")
    }

    @Test func textLosesNoToken() throws {
        let source = try source()
        var stream: [Int32] = []
        let corpus = try (0..<60).flatMap { (index) -> [Int32] in [1] + (try synthetic.dataset.document(index)) + [2] }
        var step = 0
        while stream.count < 3 * corpus.count {
            let block = try source.block(step / source.shape.steps)
            for sequence in 0..<6 {
                let row = block.rows[step % source.shape.steps * 6 + sequence]
                let batch = try source.microBatch(step: step, sequences: sequence..<sequence + 1)
                let text = documents(batch).filter { !$0.contains(-1) }.joined()
                #expect(text.count == row.textCount)
                // What comes beyond the block's share is text out of turn.
                stream += text.prefix(max(0, source.shape.text - row.textStart))
            }
            step += 1
        }
        // Each pass holds each token of the corpus exactly as often as the corpus does.
        let sorted = corpus.sorted()
        for pass in 0..<3 {
            #expect(stream[pass * corpus.count..<(pass + 1) * corpus.count].sorted() == sorted)
        }
        // Chunks are whole: the corpus' last, shorter chunk ends each pass.
        let tail = corpus.count % TextStream.chunkLength
        #expect(corpus.count > TextStream.chunkLength)
        #expect(stream[corpus.count - tail..<corpus.count].elementsEqual(corpus.suffix(tail)))
    }

    @Test func textAndImagesAreAsAskedFor() throws {
        for (length, ratio) in [(64, 4.0), (160, 4.0), (100, 5.0)] {
            let source = try source(length: length) { $0.textToImageRatio = ratio }
            var patches = 0
            var rows = 0
            for step in 0..<source.shape.steps {
                let layout = try source.microBatch(step: step, sequences: 0..<6).layout
                patches += layout.imageCount * 4
                rows += layout.count
            }
            #expect(abs(Double(rows - patches) / Double(patches) / ratio - 1) < 0.02)
        }
    }

    @Test func nothingIsPadded() throws {
        let source = try source()
        for step in 0..<20 {
            let batch = try source.microBatch(step: step, sequences: 0..<6)
            #expect(batch.layout.count == 6 * 64)
            #expect(documents(batch).filter { $0 == [2] }.count <= 12)
        }
    }

    @Test func ranksShareTheSameBatch() throws {
        for step in [0, 1, 17] {
            let whole = try source(rows: 12).microBatch(step: step, sequences: 0..<12)
            for ranks in [1, 2, 3, 4] {
                let source = try source(rows: 12)
                let parts = try (0..<ranks).map { rank in
                    try source.microBatch(step: step, sequences: rank * 12 / ranks..<(rank + 1) * 12 / ranks)
                }
                #expect(parts.flatMap(\.layout.tokens) == whole.layout.tokens)
                #expect(parts.flatMap(\.images) == whole.images)
                #expect(parts.flatMap(\.imageIndices) == whole.imageIndices)
                #expect(parts.flatMap(\.timestepLimits) == whole.timestepLimits)
            }
        }
    }

    @Test func anyStepIsFoundWithoutThoseBefore() throws {
        let inOrder = try source()
        for step in 0..<200 {
            let batch = try inOrder.microBatch(step: step, sequences: 0..<6)
            if step % 13 == 5 {
                let alone = try source().microBatch(step: step, sequences: 0..<6)
                #expect(alone.layout == batch.layout)
                #expect(alone.pairs == batch.pairs)
            }
        }
        let far = 1_000_000_000
        let batch = try source().microBatch(step: far, sequences: 0..<6)
        #expect(try inOrder.microBatch(step: far, sequences: 0..<6).layout == batch.layout)
    }

    @Test func seedAndDataDecideTheOrder() throws {
        let batch = try source().microBatch(step: 3, sequences: 0..<6)
        #expect(try source(seed: 8).microBatch(step: 3, sequences: 0..<6).pairs != batch.pairs)
        let other = try SyntheticDataset(element: .f32)
        let settings = BatchSettings(sequenceLength: 64, globalSequences: 6, seed: 7)
        let source = try BatchSource(dataset: other.dataset, settings: settings, model: other.model)
        #expect(try source.microBatch(step: 3, sequences: 0..<6).pairs != batch.pairs)
    }

    @Test(arguments: [false, true]) func countsAreThoseOfTheRows(_ endOfImageIsTarget: Bool) throws {
        var model = synthetic.model
        model.rowOptions.endOfImageIsTarget = endOfImageIsTarget
        let source = try BatchSource(
            dataset: synthetic.dataset, settings: BatchSettings(sequenceLength: 64, globalSequences: 6, seed: 7),
            model: model)
        for step in 0..<40 {
            let layout = try source.microBatch(step: step, sequences: 0..<6).layout
            let counts = try source.counts(step: step)
            #expect(counts.targets == layout.targetCount)
            #expect(counts.images == layout.imageCount)
        }
    }

    @Test func aSplitWithoutTextIsPaddedWithDocumentsThatPredictNothing() throws {
        let source = try BatchSource(
            dataset: synthetic.dataset, split: "held_out",
            settings: BatchSettings(sequenceLength: 64, globalSequences: 2, seed: 7), model: synthetic.model)
        let batch = try source.microBatch(step: 0, sequences: 0..<2)
        let documents = documents(batch)
        #expect(batch.layout.imageCount >= 6)
        #expect(documents.allSatisfy { $0.contains(-1) || $0 == [2] })
        #expect(try source.counts(step: 0).targets == batch.layout.targetCount)
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        func problem(_ body: () throws -> Void) -> String {
            do {
                try body()
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        let short = #expect(throws: DataError.self) { _ = try source(length: 12) }
        #expect(short?.description.hasPrefix("batch.sequence_length: ") == true && short?.isWrongUse == true)
        #expect(problem { _ = try source(rows: 0) }.hasPrefix("global_sequences: "))
        #expect(problem { _ = try source { $0.captionDropout = .nan } }.hasPrefix("caption_dropout: "))
        #expect(problem { _ = try source { $0.noiseCap = 0 } }.hasPrefix("noise_cap: "))
        let changes: [(String, (inout ModelConfiguration) -> Void)] = [
            ("model.vocab: ", { $0.vocabulary += 1 }), ("model.image: ", { $0.imageHeight = 16 }),
            ("model.patch: ", { $0.patchSize = 3 }), ("model: the ids", { $0.endOfText = 5 }),
        ]
        for (prefix, change) in changes {
            var model = synthetic.model
            change(&model)
            let message = problem {
                _ = try BatchSource(
                    dataset: synthetic.dataset,
                    settings: BatchSettings(sequenceLength: 64, globalSequences: 6, seed: 7), model: model)
            }
            #expect(message.hasPrefix(prefix), "\(message)")
        }
    }
}
