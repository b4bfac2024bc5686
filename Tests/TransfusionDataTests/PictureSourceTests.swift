import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// WebDatasets and files of captions.
@Suite struct PictureSourceTests {
    let directory: TemporaryDirectory
    static let captions = ["a red field", "zwei Linien\nund ünïcode", "", "the last \"one\""]

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.file("p/sub"), withIntermediateDirectories: true)
        for (name, file) in try pictures() { try Files.write(file, to: directory.file("p/" + name)) }
    }

    /// Of every format: JPEG, turned JPEG, WebP, PNG.
    func pictures() throws -> [(name: String, file: [UInt8])] {
        let cases = try PictureKindTests.cases()
        return try [
            ("sub/0.jpg", "jpeg 33x9 4:2:0"), ("1.jpeg", "jpeg exif 6"), ("2.webp", "webp 20x31 RGBA 60"),
            ("3.png", "png 6 16"),
        ].map { name, prefix in
            (name, try #require(cases.keys.sorted().first { $0.hasPrefix(prefix) }.flatMap { cases[$0]?.file }))
        }
    }

    func write(_ text: String, _ name: String) throws {
        try Files.write(Array(text.utf8), to: directory.file(name))
    }

    func build(_ change: (inout DatasetImport) -> Void) throws -> (report: DatasetImport.Report, dataset: PackedDataset)
    {
        var settings = DatasetImport()
        settings.size = 6
        settings.validationEvery = 0
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        change(&settings)
        let out = directory.file("out\(UInt64.random(in: 0...UInt64.max))")
        let report = try settings.build(at: out)
        #expect(PackedDataset.verify(out).isEmpty)
        return (report, try PackedDataset(out))
    }

    /// A tar file as ustar has it.
    static func tar(_ members: [(name: String, contents: [UInt8])], type: UInt8 = 0x30) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, contents) in members {
            var header = [UInt8](repeating: 0, count: 512)
            func put(_ text: String, _ place: Int) {
                header.replaceSubrange(place..<place + text.utf8.count, with: text.utf8)
            }
            put(name, 0)
            put("0000644", 100)
            put(String(format: "%011o", contents.count), 124)
            put("        ", 148)
            header[156] = type
            put("ustar\0" + "00", 257)
            put(String(format: "%06o", header.reduce(0) { $0 + Int($1) }) + "\0", 148)
            bytes += header + contents + [UInt8](repeating: 0, count: -contents.count & 511)
        }
        return bytes + [UInt8](repeating: 0, count: 1024)
    }

    func json(_ value: Any) throws -> [UInt8] { [UInt8](try JSONSerialization.data(withJSONObject: value)) }

    /// The samples of this suite's pictures: the caption as text, in the metadata, and in both.
    func samples() throws -> [(name: String, contents: [UInt8])] {
        var members: [(String, [UInt8])] = []
        for (number, picture) in try pictures().enumerated() {
            let type = picture.name.split(separator: ".").last ?? ""
            let caption = Self.captions[number]
            members.append(("x/00\(number).\(type.uppercased())", picture.file))
            if number != 1 { members.append(("x/00\(number).txt", Array(" \(caption)\n".utf8))) }
            if number == 1 {
                members.append(("x/00\(number).json", try json(["status": "success", "caption": caption])))
            }
            if number == 3 {
                members.append(("x/00\(number).json", try json(["caption": "another", "status": "success"])))
            }
        }
        return members
    }

    func cocoFile(_ name: String) throws {
        let pictures = try pictures()
        // In another order than the pictures.
        let annotations = [2, 0, 3, 1].map {
            ["id": 90 + $0, "image_id": 10 + $0, "caption": Self.captions[$0]] as [String: Any]
        }
        let images = pictures.enumerated().map { ["id": 10 + $0, "file_name": $1.name, "width": 3] as [String: Any] }
        try Files.write(
            json(["info": ["year": 2017], "annotations": annotations, "licenses": [], "images": images]),
            to: directory.file(name))
    }

    /// The same pictures and captions give the same pictures and tokens, wherever they come from.
    @Test func everySourceGivesTheSameDataSet() throws {
        let lines = try pictures().enumerated().map { number, picture in
            String(decoding: try json(["file_name": picture.name, "text": Self.captions[number]]), as: UTF8.self)
        }
        try write(lines.joined(separator: "\n"), "p/metadata.jsonl")
        let samples = try samples()
        try Files.write(Self.tar(Array(samples[..<4])), to: directory.file("s-08.tar"))
        try Files.write(Self.tar(Array(samples[4...])), to: directory.file("s-09.tar"))
        try cocoFile("coco.json")
        let folder = try build { $0.folders = [directory.file("p")] }
        let shards = try build { $0.webDatasets = [directory.file("s-{08..09}.tar")] }
        let coco = try build { $0.captionFiles = [(directory.file("coco.json"), directory.file("p"))] }
        #expect(folder.report.images == 4 && folder.report.captionTokens > 10)
        for other in [shards, coco] {
            for name in [PackedDataset.FileName.images, PackedDataset.FileName.captions, PackedDataset.FileName.pairs] {
                #expect(other.dataset.manifest.files[name] == folder.dataset.manifest.files[name], "\(name)")
            }
        }
        #expect(try coco.dataset.keys() == folder.dataset.keys())
        #expect(try shards.dataset.keys() == (0..<4).map { "x/00\($0)" })
        // Several sources together: each picture once, each pair by its source.
        let all = try build {
            $0.folders = [directory.file("p")]
            $0.webDatasets = [directory.file("s-08.tar::" + directory.file("s-09.tar"))]
            $0.captionFiles = [(directory.file("coco.json"), directory.file("p/"))]
        }
        #expect(all.report.images == 4 && all.report.pairs["train"] == 12)
        #expect(try Set(all.dataset.keys().map { $0.split(separator: "/")[0] }).count == 3)
    }

    @Test func anotherCaptionOfTheMetadataIsTaken() throws {
        try Files.write(Self.tar(try samples()), to: directory.file("s.tar"))
        let result = try build {
            $0.webDatasets = [directory.file("s.tar")]
            $0.captionKey = "caption"
        }
        #expect(try result.dataset.keys() == ["x/001", "x/003"])
        #expect(try result.dataset.captionText(result.dataset.pair(1)) == "another")
        #expect(result.report.picturesWithoutCaption == 2)
    }

    @Test func whatAShardCannotGiveIsNamedAndTheRestIsTaken() throws {
        let picture = try pictures()[0].file
        let caption = Array("x".utf8)
        func metadata(_ status: String) throws -> [UInt8] { try json(["status": status, "caption": NSNull()]) }
        var bytes = Self.tar([
            ("good.jpg", picture), ("good.txt", caption), ("good.cls", [0x31]),
            ("failed.json", try json(["status": "failed_to_download", "caption": "x"])),
            ("failed2.jpg", picture), ("failed2.json", try json(["status": "failed_to_resize"])),
            ("nothing.txt", caption), ("silent.jpg", picture), ("broken.jpg", [0xFF, 0xD8, 0xFF]),
            ("broken.txt", caption),
            ("two.jpg", picture), ("two.png", picture), ("two.txt", caption), ("bad.jpg", picture), ("bad.txt", [0xFF]),
            ("json.jpg", picture), ("json.json", Array("{".utf8)), ("../up.jpg", picture), ("../up.txt", caption),
            ("good.webp", picture), ("__meta__.json", caption), ("folder/.hidden", caption), ("noname", caption),
        ])
        bytes.removeLast(1024)
        bytes += Self.tar([("link.jpg", []), ("last.jpg", [])], type: 0x32)
        bytes.removeLast(1024)
        bytes += Self.tar([("last.jpg", picture), ("last.txt", caption), ("cut.jpg", picture)]).dropLast(1200)
        let path = directory.file("s.tar")
        try Files.write(bytes, to: path)
        let error = #expect(throws: BadInputError.self) {
            try build { $0.webDatasets = [path, directory.file("none.tar")] }
        }
        let problems = [
            "sample nothing: has no .png, .jpg", "sample broken.jpg: cannot be read: ",
            "sample two.png: is one too many", "sample bad.txt: is not UTF-8 text",
            "sample json.json: is not a JSON object", "sample ../up: ../up leaves the folder",
            "sample good: comes twice", "sample link.jpg: is a link", "sample last.jpg: is a link",
            "s.tar: is cut off", "none.tar: cannot be opened",
        ]
        for problem in problems { #expect(error?.lines.count { $0.contains(problem) } == 1, "\(problem)") }
        #expect(error?.lines.count == problems.count + 1)
        let result = try build {
            $0.webDatasets = [path]
            $0.skipBad = 10
        }
        #expect(try result.dataset.keys() == ["good"])
        #expect(result.report.failedDownloads == 2 && result.report.picturesWithoutCaption == 1)
        #expect(result.report.skipped.count == 10)
    }

    @Test func packedShardsOfADirectoryAreRead() throws {
        try FileManager.default.createDirectory(atPath: directory.file("shards"), withIntermediateDirectories: true)
        let samples = try samples()
        try Files.write(Self.tar(samples), to: directory.file("shards/1.tar"))
        for (name, program) in [("2.tar.gz", "gzip"), ("0.tar.zst", "zstd")] {
            let status = try Process.run(
                URL(filePath: "/bin/sh"),
                arguments: [
                    "-c", "\(program) -qc \(directory.file("shards/1.tar")) > \(directory.file("shards/" + name))",
                ])
            status.waitUntilExit()
            try #require(status.terminationStatus == 0)
        }
        try write("", "shards/notes.txt")
        let result = try build { $0.webDatasets = [directory.file("shards") + "/"] }
        #expect(result.report.images == 4 && result.report.pairs["train"] == 12)
        #expect { try build { $0.webDatasets = [directory.file("p")] } } throws: { "\($0)".contains("p: has no .tar,") }
    }

    @Test func karpathysSplitsAreKept() throws {
        let splits = ["test", "restval", "val", "train"]
        let images = try pictures().enumerated().map { number, picture -> [String: Any] in
            let parts = picture.name.split(separator: "/").map(String.init)
            var entry: [String: Any] = [
                "filename": parts[parts.count - 1], "imgid": number, "cocoid": 7, "split": splits[number],
                "sentences": (0..<5).map {
                    ["raw": "caption \($0)", "tokens": ["x"], "imgid": number] as [String: Any]
                },
            ]
            entry["filepath"] = parts.count > 1 ? parts[0] : nil
            return entry
        }
        try Files.write(json(["dataset": "coco", "images": images]), to: directory.file("dataset_coco.json"))
        let result = try build {
            $0.captionFiles = [(directory.file("dataset_coco.json"), directory.file("p"))]
            $0.validationEvery = 2
        }
        #expect(result.report.pairs == ["train": 10, "validation": 5, "held_out": 5])
        let keys = try result.dataset.keys()
        let held = result.dataset.manifest.splits.first { $0.name == "held_out" }
        #expect(held.map { keys[$0.firstPair] } == "sub/0.jpg" && keys[0] == "1.jpeg")
        #expect(try result.dataset.captionText(result.dataset.pair(4)) == "caption 4")
    }

    @Test func whatAFileOfCaptionsCannotGiveIsNamed() throws {
        let images: [[String: Any]] = [
            ["id": 1, "file_name": "3.png"], ["id": 2, "file_name": "none.jpg"], ["id": 3, "file_name": "../p/3.png"],
            ["id": 4], ["file_name": "2.webp"], ["id": 5, "file_name": "2.webp"], ["id": 1, "file_name": "1.jpeg"],
            ["id": 6, "file_name": "./3.png"], ["sentences": [["raw": "x"]], "filename": "1.jpeg", "split": "dev"],
        ]
        let annotations: [[String: Any]] =
            [1, 2, 3, 4, 6, 99].map { ["image_id": $0, "caption": "x"] }
            + [["image_id": "1", "caption": "x"], ["image_id": 1]]
        let path = directory.file("coco.json")
        try Files.write(json(["images": images, "annotations": annotations]), to: path)
        let error = #expect(throws: BadInputError.self) {
            try build { $0.captionFiles = [(path, directory.file("p"))] }
        }
        let problems = [
            "annotation 7: has no number \"image_id\"", "annotation 8: has no number",
            "picture 2: there is no file none.jpg",
            "picture 3: ../p/3.png leaves the folder", "picture 4: has neither \"file_name\"",
            "picture 5: 2.webp: has neither an \"id\"", "picture 7: has the id 1, as another",
            "picture 8: 3.png is named twice",
            "picture 9: \"split\" is \"dev\"", "has a caption of picture 99",
        ]
        for problem in problems { #expect(error?.lines.count { $0.contains(problem) } == 1, "\(problem)") }
        #expect(error?.lines.count == problems.count + 1)
        let result = try build {
            $0.captionFiles = [(path, directory.file("p"))]
            $0.skipBad = 10
        }
        #expect(try result.dataset.keys() == ["3.png"])
        #expect(result.report.picturesWithoutCaption == 1)
        for (text, message) in [
            ("", "is no JSON file of captions: no object at byte 1"),
            ("{\"images\": 7}", "\"[\" is missing at byte 12"),
            ("{\"images\": []}", "names no picture with a caption"),
            ("{\"images\": [{\"id\": 1}]}", "names no picture"),
        ] {
            try write(text, "coco.json")
            #expect { try build { $0.captionFiles = [(path, directory.file("p"))] } } throws: {
                "\($0)".contains(message)
            }
        }
    }

    @Test func damagedSourcesAreReadOrRefused() throws {
        let shard = Self.tar(try samples())
        try cocoFile("whole.json")
        let coco = try Files.read(directory.file("whole.json"), limit: 1 << 20)
        let parquets = try ["snappy 1.0", "zstd 2.0", "bad rows"].map {
            try Files.read(try parquet($0), limit: 1 << 20)
        }
        let edits = try Files.read(Fixtures.path("parquet_edits/magicbrush.parquet"), limit: 1 << 20)
        var generator = Mutations(seed: 11)
        let path = directory.file("damaged")
        for round in 0..<Mutations.count(default: 300) {
            let kind = round % 4
            let whole = [shard, coco, edits, parquets[round / 4 % parquets.count]][kind]
            try Data(generator.mutated(whole)).write(to: URL(filePath: path))
            let bad = BadInput(allowed: 1000)
            let source: any PictureSource
            switch kind {
            case 0: source = try WebDataset(path, prefix: "", captionKeys: CaptionKeys(nil))
            case 1: source = try CaptionFile(path, pictures: directory.file("p"), prefix: "")
            case 2: source = try ParquetEdits(path, prefix: "")
            default:
                let files = [ParquetPictures.File(path: path, column: "image")]
                source = ParquetPictures(path, files, prefix: "", captionKeys: CaptionKeys(nil))
            }
            let unfinished = try UnfinishedDirectory(directory.file("damaged-out"))
            let list = try PictureList(spools: unfinished.path)
            do throws(DataError) {
                try source.list(to: list, bad: bad) { _, _, _ in }
                var count = 0
                try source.forEachPicture(from: 0) { (picture) throws(DataError) in
                    count += 1
                    _ = try? picture.get().decode()
                    return true
                }
                #expect(count == list.count)
            } catch {
                #expect(error.description.hasPrefix(path + ": "))
            }
            #expect(bad.named.allSatisfy { $0.description.hasPrefix(path) || $0.description.hasPrefix(directory.path) })
        }
    }

    @Test(arguments: [
        ("a.tar", ["a.tar"]), ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{9..10}", ["9", "10"]), ("{a,b}{0..1}::c", ["a0", "a1", "b0", "b1", "c"]), ("x{,y}", ["x", "xy"]),
    ])
    func braceListsAreExpanded(_ pattern: String, _ names: [String]) throws {
        #expect(try BraceList.names(of: pattern, option: "--webdataset") == names)
    }

    @Test(arguments: ["{0..1", "{a}", "{}", "{5..1}", "{0..x}", "{0..99999999999999999999}", "{0..999}{0..999}{0..9}"])
    func badBraceListsAreWrongUse(_ pattern: String) {
        #expect { try BraceList.names(of: pattern, option: "--webdataset") } throws: {
            ($0 as? DataError)?.isWrongUse == true && "\($0)".hasPrefix("--webdataset: \(pattern): ")
        }
    }
}
