import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// Imports that are interrupted, and copies among pictures and texts.
@Suite struct ImportRunTests {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.file("p"), withIntermediateDirectories: false)
        var lines: [String] = []
        // Of ten pictures the last three are copies of the first.
        for number in 0..<10 {
            let picture = Picture(width: 9, height: 9, filled: SIMD3(UInt8(number % 7) * 30, 7, 9))
            try Files.write(PNG.encode(rgb: picture.rgb, width: 9, height: 9), to: directory.file("p/\(number).png"))
            lines.append("{\"file_name\": \"\(number).png\", \"text\": \"picture \(number)\"}\n")
        }
        try write(lines.joined(), "p/metadata.jsonl")
        // Every text comes twice, and one is empty.
        try write(
            (0..<60).map { "{\"text\": \"text \($0 % 30)\"}\n" }.joined() + "{\"text\": \"\"}\n", "text.jsonl")
    }

    func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file(name))
    }

    func settings(_ change: (inout DatasetImport) -> Void = { _ in }) -> DatasetImport {
        var settings = DatasetImport()
        settings.folders = [directory.file("p")]
        settings.texts = [directory.file("text.jsonl")]
        settings.size = 4
        settings.validationEvery = 5
        settings.pieces = 280
        change(&settings)
        return settings
    }

    var place: String { directory.file("set") }

    /// Damages a picture inside of its pixels, so that it shows only when these are read.
    func damage(_ name: String) throws {
        var bytes = try Files.read(directory.file(name), limit: 1 << 20)
        bytes[bytes.count - 20] ^= 0xFF
        try Files.write(bytes, to: directory.file(name))
    }

    /// Begins an import that stops behind the pictures, because one of them is damaged, and leaves what it has done.
    func interrupt(_ settings: DatasetImport) throws {
        let unfinished = try UnfinishedDirectory(continuing: place)
        unfinished.isKept = true
        #expect(throws: BadInputError.self) { try ImportRun(settings, in: unfinished) { _, _, _ in }.finish() }
        #expect(ImportProgress.read(in: unfinished.path)?.pictures == 10)
    }

    @Test(arguments: [true, false]) func whatAnotherProcessHasDoneIsGoneOnWith(_ hasTokenizer: Bool) throws {
        try damage("p/4.png")
        let settings = settings {
            if hasTokenizer { $0.tokenizerPath = Fixtures.path("tokenizer/small.model") }
        }
        try interrupt(settings)
        var willing = settings
        willing.skipBad = 1
        let report = try willing.build(at: place)
        #expect(report.picturesOfBefore == 10 && !report.beganAnew)
        #expect(report.skipped.count == 1 && report.skipped[0].contains("4.png: cannot be read"))
        #expect(report.duplicatePictures == 3 && report.duplicateTexts == 30 && report.emptyTexts == 1)
        let whole = try willing.build(at: directory.file("whole"))
        #expect(whole.picturesOfBefore == 0 && whole.digest == report.digest)
        #expect(whole.skipped == report.skipped && whole.tokenizerNotes == report.tokenizerNotes)
        #expect(PackedDataset.verify(place).isEmpty)
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
        #expect(left == ["p", "set", "text.jsonl", "whole"])
        #expect(try !FileManager.default.contentsOfDirectory(atPath: place).contains { $0.contains("tmp") })
    }

    @Test func otherOptionsAreRefusedAndMistakesCostNothing() throws {
        try damage("p/4.png")
        try interrupt(settings())
        for (change, problem) in [
            ({ $0.size = 8 }, "(--size was 4 and is 8); give the same ones"),
            ({ $0.deduplicate = true }, "(--deduplicate was false and is true)"),
            ({ $0.folders = ["/nowhere"] }, "/nowhere: has no metadata.jsonl"),
        ] as [((inout DatasetImport) -> Void, String)] {
            #expect { try settings(change).build(at: place) } throws: { "\($0)".contains(problem) }
        }
        #expect(try settings { $0.skipBad = 1 }.build(at: place).picturesOfBefore == 10)
    }

    @Test func changedSourcesAreReadAnew() throws {
        let whole = try Files.read(directory.file("p/4.png"), limit: 1 << 20)
        try damage("p/4.png")
        try interrupt(settings())
        try Files.write(whole, to: directory.file("p/4.png"))
        let report = try settings().build(at: place)
        #expect(report.beganAnew && report.picturesOfBefore == 0 && report.skipped.isEmpty)
        #expect(try report.digest == settings().build(at: directory.file("whole")).digest)
    }

    /// The parts that a helper left are used by the first process, whose picture they show.
    @Test func whatAHelperLeftIsUsed() async throws {
        let settings = settings {
            $0.role = .first
            $0.picturesInUnit = 3
            $0.tokenizerPath = Fixtures.path("tokenizer/small.model")
        }
        // The first process stands still after it has begun.
        var first: UnfinishedDirectory? = try UnfinishedDirectory(continuing: place)
        first?.isKept = true
        let unfinished = try #require(first).path
        var state = try ImportSources(settings, spools: unfinished) { _, _, _ in }.beginning
        state.areTextsBegun = true
        try state.write(in: unfinished)
        let place = place
        let helper = Task.detached { () -> String in
            do throws(DataError) {
                try settings.help(at: place)
                return ""
            } catch { return error.description }
        }
        let exchange = ImportExchange(unfinished, fingerprint: state.sources)
        let deadline = Date(timeIntervalSinceNow: 120)
        while !(0..<4).allSatisfy({ exchange.hasPart(.pictures, $0) }), Date() < deadline {
            try await Task.sleep(for: .milliseconds(5))
        }
        first = nil
        #expect(await helper.value.contains("the first process of the import has ended; start it again to go on"))

        let report = try settings.build(at: place)
        #expect(report.duplicatePictures == 3)
        var alone = settings
        alone.role = .alone
        #expect(try report.digest == alone.build(at: directory.file("alone")).digest)
        // Those of a forged part, so that nobody else can have made them.
        let other = try UnfinishedDirectory(continuing: directory.file("other"))
        other.isKept = true
        let forged = ImportExchange(other.path, fingerprint: state.sources)
        try forged.leave(
            ImportExchange.PicturePart(planes: Data(repeating: 7, count: 2 * 48), problems: [1: "owl: no"], count: 3),
            .pictures, 1)
        var willing = settings
        willing.skipBad = 1
        _ = try ImportRun(willing, in: other) { _, _, _ in }.finish()
        let dataset = try PackedDataset(directory.file("other"))
        #expect(try !dataset.keys().contains("4.png") && dataset.keys().contains("5.png"))
        #expect(
            try (0..<dataset.manifest.images).contains {
                try dataset.picture($0) == Picture(width: 4, height: 4, filled: SIMD3(7, 7, 7))
            })
    }

    @Test func aHelperWorksBesideTheFirst() async throws {
        var settings = settings {
            $0.role = .first
            $0.picturesInUnit = 1
        }
        let lines = (0..<70_000).map { "{\"text\": \"\($0)\"}\n" }
        try write(lines.joined(), "text.jsonl")
        let place = place, shared = settings
        let helpers = (0..<2).map { _ in Task.detached { try shared.help(at: place) } }
        let report = try settings.build(at: place)
        for helper in helpers { try await helper.value }
        settings.role = .alone
        #expect(try report.digest == settings.build(at: directory.file("alone")).digest)
        #expect(report.pairs.values.reduce(0, +) == 10 && report.documents.values.reduce(0, +) == 70_000)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
                "alone", "p", "set", "text.jsonl",
            ])
    }

    @Test func twoProcessesDoNotWriteToOnePlace() throws {
        let other = try UnfinishedDirectory(continuing: place)
        #expect { try settings().build(at: place) } throws: {
            "\($0)".contains("set: is being made by another process")
        }
        withExtendedLifetime(other) {}
    }

    @Test func theRefusedOneTouchesNothingOfTheOther() throws {
        let other = try UnfinishedDirectory(continuing: place)
        other.isKept = true
        try Files.write([1, 2, 3], to: other.file("images.bin"))
        #expect(throws: DataError.self) { _ = try UnfinishedDirectory(continuing: place) }
        #expect(try Files.read(other.file("images.bin"), limit: 10) == [1, 2, 3])
    }

    /// Helpers look whether the directory is locked, and hold it for a moment by that.
    @Test func whoLooksDoesNotKeepTheFirstOut() throws {
        let path = UnfinishedDirectory.continuedPath(of: place)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(descriptor) }
        #expect(flock(descriptor, LOCK_SH | LOCK_NB) == 0)
        let looker = Thread {
            usleep(40_000)
            flock(descriptor, LOCK_UN)
        }
        looker.start()
        #expect(throws: Never.self) { _ = try UnfinishedDirectory(continuing: place) }
    }

    /// Texts behind the one too many were read for their faults alone. They are encoded when more may be left out.
    @Test func textsPassedOverAreEncodedWhenMoreMayBeBad() throws {
        // More than one batch, and the bad one in the first.
        var lines = (0..<70_000).map { "{\"text\": \"\($0)\"}\n" }
        lines[3] = "{\"text\": 3}\n"
        try write(lines.joined(), "text.jsonl")
        let settings = settings {
            $0.folders = []
            $0.tokenizerPath = Fixtures.path("tokenizer/small.model")
        }
        let unfinished = try UnfinishedDirectory(continuing: place)
        unfinished.isKept = true
        #expect(throws: BadInputError.self) { try ImportRun(settings, in: unfinished) { _, _, _ in }.finish() }
        var willing = settings
        willing.skipBad = 1
        let report = try ImportRun(willing, in: unfinished) { _, _, _ in }.finish()
        #expect(report.documents.values.reduce(0, +) == 69_999 && report.skipped.count == 1)
        #expect(try report.digest == willing.build(at: directory.file("whole")).digest)
    }

    @Test func leavingOutFewerThanBeforeKeepsWhatIsDone() throws {
        try damage("p/4.png")
        try interrupt(settings())
        #expect { try settings().build(at: place) } throws: { "\($0)".contains("4.png: cannot be read") }
        let path = UnfinishedDirectory.continuedPath(of: place)
        #expect(ImportProgress.read(in: path)?.pictures == 10)
        #expect(try settings { $0.skipBad = 1 }.build(at: place).picturesOfBefore == 10)
    }

    @Test(arguments: [true, false]) func copiesAreCountedAndLeftOutOnDemand(_ hasTokenizer: Bool) throws {
        let kept = try settings().build(at: directory.file("kept"))
        #expect(kept.duplicatePictures == 3 && kept.duplicateTexts == 30 && !kept.areDuplicatesLeftOut)
        #expect(kept.pairs.values.reduce(0, +) == 10 && kept.documents.values.reduce(0, +) == 60)
        let report = try settings {
            $0.deduplicate = true
            if hasTokenizer { $0.tokenizerPath = Fixtures.path("tokenizer/small.model") }
        }.build(at: place)
        #expect(report.duplicatePictures == 3 && report.duplicateTexts == 30 && report.areDuplicatesLeftOut)
        #expect(report.images == 7 && report.pairs.values.reduce(0, +) == 7)
        let dataset = try PackedDataset(place)
        #expect(try Set(dataset.keys()) == Set((0..<7).map { "\($0).png" }))
        let texts = try (0..<dataset.manifest.documents).map { try dataset.tokenizer.decode(dataset.document($0)) }
        #expect(texts.count == 30 && Set(texts) == Set((0..<30).map { "text \($0)" }))
        // Which split a text belongs to is told by its place among all.
        #expect(report.documents == ["train": 24, "validation": 6])
    }

    @Test func equalDigestsAreFoundInAnyNumberOfPasses() throws {
        let digests = (0..<500).map { number -> UInt128 in
            number % 9 == 0 ? 0 : TextDigests.digest(of: "\(number * number % 97)")
        }
        var seen: Set<UInt128> = []
        let expected = digests.map { $0 != 0 && !seen.insert($0).inserted }
        try Files.write(digests.withUnsafeBytes { [UInt8]($0) }, to: directory.file("digests"))
        for most in [1, 7, 100, 500, 10_000] {
            let found = try TextDigests(directory.file("digests"), mostInMemory: most)
            #expect(digests.indices.map { found.isRepeated($0) } == expected)
            #expect(found.count == expected.count { $0 } && found.count > 100)
        }
        try Files.write([], to: directory.file("digests"))
        #expect(try TextDigests(directory.file("digests")).count == 0)
    }
}

extension TextDigests {
    fileprivate static func digest(of text: String) -> UInt128 {
        var text = text
        return text.withUTF8 { digest($0) }
    }
}
