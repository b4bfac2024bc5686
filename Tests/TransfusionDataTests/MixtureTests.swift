import Foundation
import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionData

@Suite struct MixtureTests {
    typealias Source = RunConfiguration.DataSet.Source

    let first: SyntheticDataset
    let second: SyntheticDataset
    let textOnly: SyntheticDataset

    init() throws {
        first = try SyntheticDataset(pairs: 37)
        second = try SyntheticDataset(pairs: 23, documents: 11)
        textOnly = try SyntheticDataset(pairs: 0, documents: 25)
    }

    private static let changes = [10, 47]

    /// Three data sets whose weights change twice.
    private func mixture() throws -> DataMixture {
        try DataMixture(
            [first.dataset, second.dataset, textOnly.dataset],
            [
                Source(path: first.path, weight: 3), Source(path: second.path, weight: 1),
                Source(path: textOnly.path, weight: 2, fromStep: Self.changes[0]),
                Source(path: first.path, weight: 0, fromStep: Self.changes[1]),
            ])
    }

    private func source(_ data: DataMixture, rows: Int = 12) throws -> BatchSource {
        var settings = BatchSettings(sequenceLength: 64, globalSequences: rows, seed: 7)
        settings.textToImageRatio = 6
        return try BatchSource(data: data, settings: settings, model: first.model)
    }

    @Test func sharesAreTheWeightsInAnyPeriod() {
        for shares in [[1, 1], [7, 2, 1], [1, 1 << 15], [3, 0, 5], [Int](1...64)] {
            let table = SlotTable(shares)
            let sum = Double(shares.reduce(0, +))
            for start in [0, 1, 12345, 10_000_000_019] {
                for source in shares.indices {
                    let count =
                        table.count(of: source, before: start + SlotTable.period)
                        - table.count(of: source, before: start)
                    #expect(abs(Double(count) / Double(SlotTable.period) - Double(shares[source]) / sum) < 1e-4)
                }
            }
            // What a source has in turn is numbered without gaps, and it is never a whole place ahead.
            var counts = shares.map { _ in 0 }
            for place in 0..<2 * SlotTable.period {
                let (source, index) = table.item(at: place)
                #expect(index == counts[source])
                counts[source] += 1
                if place < SlotTable.period {
                    #expect(Double(counts[source]) < Double(shares[source]) / sum * Double(place + 1) + 1)
                }
            }
        }
    }

    @Test func oneSourceIsItsDataSet() throws {
        let alone = try source(DataMixture(first.dataset))
        let mixed = try source(DataMixture([first.dataset], [Source(path: first.path, weight: 0.3)]))
        #expect(mixed.data.digest == first.dataset.manifest.digest)
        for step in [0, 3, 99] {
            let (batch, other) = (
                try alone.microBatch(step: step, sequences: 0..<12), try mixed.microBatch(step: step, sequences: 0..<12)
            )
            #expect(batch.layout == other.layout && batch.pairs == other.pairs && batch.images == other.images)
        }
    }

    @Test func neitherOrderNorScaleNorPathsPlayAPart() throws {
        func digest(_ weights: (Double, Double), swapped: Bool) throws -> String {
            let sets = [first.dataset, second.dataset]
            let sources = [Source(path: first.path, weight: weights.0), Source(path: second.path, weight: weights.1)]
            return try DataMixture(swapped ? sets.reversed() : sets, swapped ? sources.reversed() : sources).digest
        }
        let digests = try [
            digest((1, 2), swapped: false), digest((1, 2), swapped: true), digest((3, 6), swapped: false),
        ]
        #expect(Set(digests).count == 1)
        #expect(try digest((2, 1), swapped: false) != digests[0])
    }

    @Test func ranksAndStopsChangeNothing() throws {
        let inOrder = try source(mixture())
        #expect(inOrder.phases.map(\.steps.lowerBound) == [0] + Self.changes)
        for step in 0..<70 {
            let whole = try inOrder.microBatch(step: step, sequences: 0..<12)
            let counts = try inOrder.counts(step: step)
            #expect(counts.targets == whole.layout.targetCount && counts.images == whole.layout.imageCount)
            guard step == 60 || Self.changes.contains(where: { abs($0 - step) <= 1 }) else { continue }
            let alone = try source(mixture())
            for ranks in 1...4 {
                let parts = try (0..<ranks).map { rank in
                    try alone.microBatch(step: step, sequences: rank * 12 / ranks..<(rank + 1) * 12 / ranks)
                }
                #expect(parts.flatMap(\.layout.tokens) == whole.layout.tokens, "step \(step)")
                #expect(parts.flatMap(\.images) == whole.images && parts.flatMap(\.sources) == whole.sources)
                #expect(parts.flatMap(\.timestepLimits) == whole.timestepLimits)
            }
        }
    }

    /// The order of a data set goes on over the changes: when a phase has ended, each pair was seen equally often, or once more.
    @Test func everySourceKeepsItsEpochs() throws {
        let source = try source(mixture())
        var seen = source.data.datasets.map { [Int](repeating: 0, count: $0.manifest.pairs) }
        for step in 0..<Self.changes[1] {
            let batch = try source.microBatch(step: step, sequences: 0..<12)
            #expect(try source.counts(step: step).leftOut == 0)
            for (place, pair) in zip(batch.sources, batch.pairs) { seen[place][pair] += 1 }
            for (image, (place, pair)) in zip(batch.sources, batch.pairs).enumerated() {
                let dataset = source.data.datasets[place]
                let pixels = try dataset.image(dataset.pair(pair).image)
                #expect(Array(batch.images[image * pixels.count..<(image + 1) * pixels.count]) == pixels)
            }
        }
        let epochs = try source.epochs(before: Self.changes[1])
        for (place, set) in source.data.datasets.enumerated() {
            let pairs = source.streams.splits[place].pairs
            guard pairs > 0 else {
                #expect(epochs[place].pairs == nil && epochs[place].text ?? 0 > 0)
                continue
            }
            let counts = seen[place].prefix(pairs), total = counts.reduce(0, +)
            #expect(counts.allSatisfy { $0 == total / pairs || $0 == total / pairs + 1 }, "\(set.path): \(counts)")
            #expect(abs((epochs[place].pairs ?? 0) - Double(total) / Double(pairs)) < 1e-9)
        }
        // The first set has three quarters of the pairs.
        let totals = source.data.datasets.indices.map { seen[$0].reduce(0, +) }
        let ofFirst = totals[source.data.datasets.firstIndex { $0.path == self.first.path } ?? 0]
        #expect(abs(Double(ofFirst) / Double(totals.reduce(0, +)) - 0.75) < 0.005)
    }

    @Test func aSourceThatHasEndedIsSeenNoMore() throws {
        let source = try source(mixture())
        let ended = source.data.datasets.firstIndex { $0.path == self.first.path }
        for step in Self.changes[1]..<Self.changes[1] + 20 {
            let batch = try source.microBatch(step: step, sequences: 0..<12)
            #expect(!batch.sources.isEmpty && !batch.sources.contains { $0 == ended })
        }
    }

    @Test func theTextOfEachSourceKeepsItsOrder() throws {
        let data = try DataMixture(
            [first.dataset, second.dataset],
            [Source(path: first.path, weight: 2), Source(path: second.path, weight: 1)])
        let streams = try SourceStreams(
            data, split: "train", BatchSettings(sequenceLength: 64, globalSequences: 1, seed: 7), first.model)
        let begins = [100, 7]
        let text = try #require(MixedText(streams.text, shares: data.phases[0].shares, begins: begins))
        func tokens(_ stream: TextStream, _ start: Int, _ count: Int) throws -> [Int32] {
            var tokens: [Int32] = []
            try stream.forEachFragment(from: start, count: count) { fragment throws(DataError) in
                tokens += try self.tokens(fragment, data)
            }
            return tokens
        }
        var mixed: [[Int32]] = [[], []]
        var place = 0
        while place < 20_000 {
            let count = 1 + place * 7919 % 700
            try text.forEachFragment(from: place, count: count) { fragment throws(DataError) in
                mixed[fragment.source] += try self.tokens(fragment, data)
            }
            place += count
        }
        for source in 0..<2 {
            let taken = text.taken(from: source, before: place) - begins[source]
            #expect(mixed[source] == (try tokens(streams.text[source], begins[source], taken)))
            #expect(abs(Double(taken) / Double(place) - text.share(of: source)) < 0.06)
        }
    }

    private func tokens(_ fragment: TextStream.Fragment, _ data: DataMixture) throws(DataError) -> [Int32] {
        var tokens: [Int32] = fragment.hasBeginning ? [1] : []
        try data.datasets[fragment.source].appendText(fragment.text, to: &tokens)
        return tokens + (fragment.hasEnd ? [2] : [])
    }

    @Test(.timeLimit(.minutes(2))) func aBillionPairsAreMixedAtOnce() throws {
        let sets = try [
            LengthsDataset(emptyCaptions: 1_000_000_000, text: 5000),
            LengthsDataset(emptyCaptions: 700_000_000, text: 0),
        ]
        try withExtendedLifetime(sets) {
            let paths = sets.map(\.dataset.path)
            let data = try DataMixture(
                sets.map(\.dataset),
                [
                    Source(path: paths[0], weight: 1), Source(path: paths[1], weight: 3),
                    Source(path: paths[0], weight: 9, fromStep: 500_000_000),
                ])
            let alone = try sets[0].source(length: 64, rows: 4, patch: 4)
            let source = try BatchSource(data: data, settings: alone.settings, model: alone.model)
            var counts = [0, 0]
            for step in 999_999_000..<999_999_400 {
                for place in try source.microBatch(step: step, sequences: 0..<4).sources { counts[place] += 1 }
            }
            let large = source.data.datasets[0].path == paths[0] ? 0 : 1
            #expect(abs(Double(counts[large]) / Double(counts.reduce(0, +)) - 0.75) < 0.02)
        }
    }

    @Test func whatDoesNotGoTogetherIsNamed() throws {
        func problem(_ sets: [PackedDataset]) -> String {
            do {
                _ = try DataMixture(sets, sets.map { Source(path: $0.path) })
                return "nothing was refused"
            } catch {
                return error.isWrongUse ? error.description : "no wrong use: \(error)"
            }
        }
        let larger = try SyntheticDataset(size: 16)
        #expect(
            problem([first.dataset, larger.dataset]).hasPrefix("data.sources: \(larger.path) has images of 3×16×16 u8"))
        let directory = try TemporaryDirectory()
        try (0..<300).map { "line \($0) is red" }.joined(separator: "\n")
            .write(toFile: directory.file("lines.txt"), atomically: true, encoding: .utf8)
        var corpus = TokenizerCorpus()
        try corpus.addLines(of: directory.file("lines.txt"))
        let tokenizer = try TokenizerTraining(on: corpus, from: "lines", pieces: 280).tokenizer
        let other = try SyntheticDataset(documents: 3, tokenizer: tokenizer)
        #expect(
            problem([first.dataset, other.dataset]).hasPrefix(
                "data.sources: \(other.path) was made with the tokenizer "))
        let copy = try SyntheticDataset(pairs: 37)
        #expect(problem([first.dataset, copy.dataset]).contains("are the same data set"))
        // Where there are no images, their form plays no part.
        let text = try SyntheticDataset(pairs: 0, size: 16, heldOut: 0)
        let mixture = try DataMixture(
            [text.dataset, first.dataset], [Source(path: text.path), Source(path: first.path)])
        #expect(mixture.image.height == 8)
    }
}
