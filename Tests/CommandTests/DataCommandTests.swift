import Foundation
import Testing
import TransfusionData
import _TestUtilities

@Suite struct DataCommandTests {
    let data = Command("tf-data")
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A failure is one line that says `error:` and names what is wrong.
    func expectFailure(
        _ arguments: [String], status: Int32, naming word: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let result = try data.run(arguments)
        #expect(result.status == status, "\(result.errors)", sourceLocation: sourceLocation)
        #expect(result.signal == nil, sourceLocation: sourceLocation)
        #expect(result.errors.lowercased().hasPrefix("error: "), sourceLocation: sourceLocation)
        #expect(result.errors.contains(word), "\(result.errors)", sourceLocation: sourceLocation)
        if status == 1 {
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)", sourceLocation: sourceLocation)
        }
    }

    func importedDataset() throws -> String {
        let lines = (0..<80).map { "{\"text\": \"line \($0) of a red circle\"}" }.joined(separator: "\n")
        try lines.write(toFile: directory.file("text.jsonl"), atomically: true, encoding: .utf8)
        let out = directory.file("set")
        let result = try data.run("import", "--jsonl", directory.file("text.jsonl"), "--pieces", "280", "--out", out)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.isEmpty)
        return out
    }

    @Test func importsInspectsAndVerifies() throws {
        let out = try importedDataset()
        let inspected = try data.run("inspect", out, "--samples", "2")
        #expect(inspected.output.contains("train: 0 pairs"))
        #expect(inspected.output.contains("document 0: line 0 of a red circle"))
        let json = try data.run("inspect", out, "--json", "--split", "validation")
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        let manifest = object?["manifest"] as? [String: Any]
        #expect(manifest?["documents"] as? Int == 80)
        #expect((object?["documents"] as? [Any])?.count == 1)
        #expect(try data.run("verify", out).status == 0)
        struct Report: Decodable {
            var path: String
            var good: Bool
            var problems: [String]
        }
        func report() throws -> Report {
            try JSONDecoder().decode(Report.self, from: Data(data.run("verify", out, "--json").output.utf8))
        }
        let good = try report()
        #expect(good.good && good.path == out && good.problems.isEmpty)

        // One flipped bit is found; nothing else is printed.
        var text = try Data(contentsOf: URL(filePath: out + "/text.tokens"))
        text[10] ^= 1
        try text.write(to: URL(filePath: out + "/text.tokens"))
        try expectFailure(["verify", out], status: 1, naming: "text.tokens")
        try expectFailure(["verify", out, "--json"], status: 1, naming: "text.tokens")
        let bad = try report()
        #expect(!bad.good && bad.problems.count == 1 && bad.problems[0].contains("text.tokens"))
    }

    @Test func tokenizerGoesThereAndBack() throws {
        let model = directory.file("t.model")
        let text = (0..<50).map { "red circle \($0) and a blue square" }.joined(separator: "\n")
        try text.write(toFile: directory.file("text.txt"), atomically: true, encoding: .utf8)
        let train = ["tokenizer", "train", directory.file("text.txt"), "--pieces", "290", "--out", model]
        #expect(try data.run(train).status == 0)
        try expectFailure(train, status: 2, naming: "exists already")
        try trainsWhateverTheLines()
        let empty = directory.file("empty.txt")
        for text in ["", "  \n\t\n"] {
            try Data(text.utf8).write(to: URL(filePath: empty))
            try expectFailure(
                ["tokenizer", "train", empty, "--out", directory.file("e.model")], status: 1,
                naming: "\(empty): no text in it")
        }
        let ids = try data.run("tokenizer", "encode", "--model", model, "blue circle 7").output
        #expect(ids.split(separator: " ").count >= 3)
        let words = ids.split(whereSeparator: \.isWhitespace).map(String.init)
        #expect(try data.run(["tokenizer", "decode", "--model", model] + words).output == "blue circle 7\n")
        let special = try data.run("tokenizer", "encode", "--model", model, "--parse-specials", "<s><boi><eoi></s>")
        #expect(special.output == "1 290 291 2\n")
        try expectFailure(["tokenizer", "decode", "--model", model, "292"], status: 1, naming: "292")
        try expectFailure(["tokenizer", "encode", "--model", "/nowhere", "x"], status: 1, naming: "/nowhere")
    }

    /// Ends of lines are no text, and a long run without a space, which libsentencepiece dies of, is cut and told.
    func trainsWhateverTheLines() throws {
        let model = directory.file("lines.model")
        let lines = (0..<300).map { "red circle \($0) and a blue square" } + [String(repeating: "=", count: 40_000)]
        let text = lines.joined(separator: "\r\n")
        try text.write(toFile: directory.file("lines.txt"), atomically: true, encoding: .utf8)
        let result = try data.run("tokenizer", "train", directory.file("lines.txt"), "--out", model)
        #expect(result.status == 0 && result.signal == nil, "\(result.errors)")
        let told = result.output.split(separator: "\n")
        #expect(told.count == 3)
        #expect(told.first?.contains(" pieces from 301 lines, ") == true)
        #expect(told.dropFirst().first?.contains("one run of more than 1024 letters") == true)
        #expect(told.last?.contains("4096 were asked for") == true)
        let ids = try data.run("tokenizer", "encode", "--model", model, "--pieces", "\r").output
        #expect(ids.hasSuffix(":<0x0D>\n"))
    }

    @Test func wrongUseExitsWithTwo() throws {
        try expectFailure(["import", "--out", directory.file("x")], status: 2, naming: "--folder")
        try expectFailure(["emoji", "--out", "x", "--subset", "owls"], status: 2, naming: "owls")
        try expectFailure(["emoji"], status: 2, naming: "--out")
        try expectFailure(["inspect", "x", "--samples", "-1"], status: 2, naming: "samples")
        let out = ["--out", directory.file("x")]
        try expectFailure(["emoji", "--size", "7"] + out, status: 2, naming: "--size")
        try expectFailure(["emoji", "--hold-out", "owl"] + out, status: 2, naming: "--hold-out")
        try expectFailure(["emoji", "--out", directory.path], status: 2, naming: "exists already")
        let texts = ["import", "--jsonl", "none.jsonl"]
        try expectFailure(texts + ["--size", "0"] + out, status: 2, naming: "--size")
        try expectFailure(texts + ["--validation-every=-1"] + out, status: 2, naming: "--validation-every")
        try expectFailure(texts + ["--validation-every=1"] + out, status: 2, naming: "--validation-every")
        try expectFailure(texts + ["--out", directory.path], status: 2, naming: "exists already")
        try expectFailure(texts + out, status: 1, naming: "none.jsonl")
    }

    @Test func badInputIsOneLine() throws {
        try expectFailure(["inspect", directory.file("none")], status: 1, naming: "tf-data emoji")
        try expectFailure(["verify", directory.file("none")], status: 1, naming: "manifest.json")
        try expectFailure(
            ["emoji", "--out", directory.file("x"), "--font", "/nowhere.ttf"], status: 1,
            naming: "fonts-noto-color-emoji")
        let out = try importedDataset()
        try expectFailure(["inspect", out, "--split", "test"], status: 1, naming: "train, validation")
        try expectFailure(
            ["import", "--jsonl", directory.file("text.jsonl"), "--out", out], status: 2, naming: "exists already")
    }

    @Test func aSlashAtTheEndOfOutIsNoPartOfIt() throws {
        try "{\"text\": \"a red circle\"}".write(
            toFile: directory.file("text.jsonl"), atomically: true, encoding: .utf8)
        let result = try data.run(
            "import", "--jsonl", directory.file("text.jsonl"), "--tokenizer", Fixtures.path("tokenizer/small.model"),
            "--out", directory.file("set/"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(try data.run("verify", directory.file("set")).status == 0)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["set", "text.jsonl"])
    }

    @Test func badLinesAreNamedOrLeftOut() throws {
        let text = directory.file("text.jsonl")
        try "{\"text\": \"a red circle\"}\nowl\n[]\n".write(toFile: text, atomically: true, encoding: .utf8)
        let arguments = [
            "import", "--jsonl", text, "--tokenizer", Fixtures.path("tokenizer/small.model"), "--out",
            directory.file("set"),
        ]
        let refused = try data.run(arguments + ["--skip-bad", "1"])
        #expect(refused.status == 1 && refused.output.isEmpty)
        let lines = refused.errors.split(separator: "\n")
        #expect(lines.count == 3 && lines.allSatisfy { $0.hasPrefix("error: ") }, "\(refused.errors)")
        #expect(lines[1].contains("text.jsonl:3: is not a JSON object: it is a list"))
        let done = try data.run(arguments + ["--skip-bad", "2"])
        #expect(done.status == 0, "\(done.errors)")
        #expect(done.output.contains("left out, cannot be used: 2") && done.output.contains("text.jsonl:3: "))
    }

    /// Pictures that take a while to read, copies among them, and short texts in several batches.
    private func makeSources() throws -> [String] {
        try FileManager.default.createDirectory(atPath: directory.file("p"), withIntermediateDirectories: false)
        var lines: [String] = []
        for number in 0..<60 {
            let side = 300
            let rgb = (0..<side * side * 3).map { UInt8(truncatingIfNeeded: ($0 * (number % 50 + 1)) >> 4) }
            try Files.write(PNG.encode(rgb: rgb, width: side, height: side), to: directory.file("p/\(number).png"))
            lines.append("{\"file_name\": \"\(number).png\", \"text\": \"picture \(number)\"}\n")
        }
        try Files.write(Array(lines.joined().utf8), to: directory.file("p/metadata.jsonl"))
        let texts = (0..<150_000).map { "{\"text\": \"\($0 % 140_000)\"}\n" }
        try Files.write(Array(texts.joined().utf8), to: directory.file("text.jsonl"))
        return [
            "import", "--folder", directory.file("p"), "--jsonl", directory.file("text.jsonl"), "--tokenizer",
            Fixtures.path("tokenizer/small.model"), "--size", "64", "--json", "--out",
        ]
    }

    private struct ImportReport: Decodable {
        let digest: String
        let duplicatePictures: Int
        let duplicateTexts: Int
        let picturesOfBefore: Int
    }

    /// However often and wherever it is ended, by the kernel or by a person, what it gives in the end is the same.
    @Test(.timeLimit(.minutes(10))) func anInterruptedImportGoesOn() throws {
        let arguments = try makeSources()
        let begin = Date()
        let reference = try data.run(arguments + [directory.file("whole")])
        let duration = UInt32(-begin.timeIntervalSinceNow * 1e6)
        let whole = try JSONDecoder().decode(ImportReport.self, from: Data(reference.output.utf8))
        #expect(whole.duplicatePictures == 10 && whole.duplicateTexts == 10_000 && whole.picturesOfBefore == 0)
        let place = directory.file("set"), progress = place + ".tmp-import/progress.tmp"
        func stamp() -> Date? {
            (try? FileManager.default.attributesOfItem(atPath: progress))?[.modificationDate] as? Date
        }
        func isWhole() throws -> Bool {
            try Files.read(place + "/manifest.json", limit: 1 << 20)
                == Files.read(directory.file("whole/manifest.json"), limit: 1 << 20)
        }
        var interruptions = 0, goneOn = 0, rounds = 0
        while interruptions < 10, rounds < 60 {
            let before = stamp()
            let running = try data.start(arguments + [place])
            // At any moment; or at one behind the next time at which work was brought to the disk.
            let deadline = Date(timeIntervalSinceNow: 60)
            while rounds % 2 == 0, stamp() == before, running.isRunning, Date() < deadline { usleep(2000) }
            usleep(UInt32.random(in: 0..<duration))
            let signal = [SIGKILL, SIGINT, SIGTERM, SIGKILL][rounds % 4]
            running.send(signal)
            let result = try running.wait()
            rounds += 1
            #expect(result.signal == nil || result.signal == signal)
            guard FileManager.default.fileExists(atPath: place) else {
                #expect(result.signal != nil, "\(result.errors)")
                interruptions += 1
                continue
            }
            // It had made the data set before, if only just: another begins.
            if result.signal == nil {
                let report = try JSONDecoder().decode(ImportReport.self, from: Data(result.output.utf8))
                goneOn += report.picturesOfBefore > 0 ? 1 : 0
            }
            #expect(try isWhole(), "round \(rounds)")
            try FileManager.default.removeItem(atPath: place)
        }
        #expect(interruptions == 10)
        let last = try data.run(arguments + [place])
        let report = try JSONDecoder().decode(ImportReport.self, from: Data(last.output.utf8))
        goneOn += report.picturesOfBefore > 0 ? 1 : 0
        #expect(report.digest == whole.digest && goneOn > 0)
        #expect(report.duplicatePictures == 10 && report.duplicateTexts == 10_000)
        #expect(try isWhole())
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
                == ["p", "set", "text.jsonl", "whole"])
    }

    /// Started by mpirun; and with further ranks of which one is killed.
    @Test func ranksThatShareAnImportGiveTheSameDataSet() throws {
        let arguments = try makeSources()
        let reference = try data.run(arguments + [directory.file("whole")])
        let whole = try JSONDecoder().decode(ImportReport.self, from: Data(reference.output.utf8))
        let together = try Command.onPath("mpirun").run(
            ["--oversubscribe", "--bind-to", "none", "-n", "3", data.path] + arguments + [directory.file("together")],
            environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
        #expect(together.status == 0, "\(together.errors)")
        let report = try JSONDecoder().decode(ImportReport.self, from: Data(together.output.utf8))
        #expect(report.digest == whole.digest && report.duplicateTexts == 10_000)

        func rank(_ rank: Int) -> [String: String?] {
            ["OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "\(rank)"]
        }
        let place = directory.file("killed")
        let ranks = try (0..<3).map { try data.start(arguments + [place], environment: rank($0)) }
        // Once the helper has left something.
        let unfinished = place + ".tmp-import"
        let deadline = Date(timeIntervalSinceNow: 60)
        func hasPart() -> Bool {
            (try? FileManager.default.contentsOfDirectory(atPath: unfinished))?.contains { $0.hasSuffix(".part.tmp") }
                == true
        }
        while !hasPart(), Date() < deadline, !FileManager.default.fileExists(atPath: place) { usleep(2000) }
        ranks[1].send(SIGKILL)
        let results = try ranks.map { try $0.wait() }
        #expect(results[0].status == 0 && results[2].status == 0, "\(results[0].errors)\(results[2].errors)")
        #expect(results[2].output.isEmpty && results[2].errors.isEmpty)
        let survivor = try JSONDecoder().decode(ImportReport.self, from: Data(results[0].output.utf8))
        #expect(survivor.digest == whole.digest)
        // A rank that comes when all is done has nothing to do.
        let late = try data.run(arguments + [place], environment: rank(1))
        #expect(late.status == 0 && late.output.isEmpty && late.errors.isEmpty)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
                == ["killed", "p", "text.jsonl", "together", "whole"])
    }

    @Test func copiesAreToldAndLeftOut() throws {
        let text = directory.file("text.jsonl")
        try "{\"text\": \"a red circle\"}\n{\"text\": \"a red circle\"}\n".write(
            toFile: text, atomically: true, encoding: .utf8)
        let arguments = ["import", "--jsonl", text, "--tokenizer", Fixtures.path("tokenizer/small.model"), "--out"]
        let kept = try data.run(arguments + [directory.file("kept")])
        #expect(kept.output.contains("texts equal to one before them: 1, kept (--deduplicate leaves them out)"))
        let dropped = try data.run(arguments + [directory.file("dropped"), "--deduplicate"])
        #expect(dropped.output.contains("1 text documents") && dropped.output.contains("before them: 1, left out"))
    }

    @Test func helpHasExamples() throws {
        for command in [[], ["emoji"], ["import"], ["inspect"], ["verify"], ["tokenizer"]] {
            let help = try data.run(command + ["--help"])
            #expect(help.status == 0)
            #expect(help.output.contains("EXAMPLES"))
        }
    }
}
