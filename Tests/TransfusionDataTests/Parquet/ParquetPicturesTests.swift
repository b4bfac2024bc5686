import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// Pictures and captions in files that pyarrow wrote (Tests/Fixtures/parquet_pictures.py).
extension PictureSourceTests {
    /// Writes a fixture.
    /// - Returns: Its path.
    func parquet(_ name: String, as file: String = "p.parquet") throws -> String {
        let data = try #require(FileManager.default.contents(atPath: Fixtures.path("parquet_pictures.json")))
        let files = try JSONDecoder().decode([String: Data].self, from: data)
        try Files.write([UInt8](try #require(files[name])), to: directory.file(file))
        return directory.file(file)
    }

    @Test(arguments: [
        "none 1.0", "snappy 1.0", "gzip 1.0", "zstd 2.0", "snappy 2.0", "bytes alone", "lists of captions",
    ])
    func parquetGivesTheSameDataSetAsAFolder(_ name: String) throws {
        let lines = try pictures().enumerated().map { number, picture in
            String(decoding: try json(["file_name": picture.name, "text": Self.captions[number]]), as: UTF8.self)
        }
        try write(lines.joined(separator: "\n"), "p/metadata.jsonl")
        let folder = try build { $0.folders = [directory.file("p")] }
        let path = try parquet(name)
        let parquet = try build { $0.parquets = [path] }
        for name in [PackedDataset.FileName.images, PackedDataset.FileName.captions, PackedDataset.FileName.pairs] {
            #expect(parquet.dataset.manifest.files[name] == folder.dataset.manifest.files[name], "\(name)")
        }
        #expect(folder.report.images == 4 && folder.report.captionTokens > 10)
        let keys = name == "bytes alone" ? (1...4).map { "p.parquet/\($0)" } : try folder.dataset.keys()
        #expect(try parquet.dataset.keys() == keys)
    }

    @Test func aFolderOfParquetFilesMayHoldPicturesAndTexts() throws {
        try FileManager.default.createDirectory(atPath: directory.file("all"), withIntermediateDirectories: true)
        _ = try parquet("zstd 2.0", as: "all/1.parquet")
        _ = try parquet("bytes alone", as: "all/2.parquet")
        let texts = try #require(ParquetFileTests.files.first { $0.name == "differences" })
        try texts.file.write(to: URL(filePath: directory.file("all/3.parquet")))
        let documents = try #require(texts.columns.first { $0.name == "text" }).values.count { $0 != .bytes([]) }
        var result = try build { $0.parquets = [directory.file("all")] }
        #expect(result.report.pairs == ["train": 8] && result.report.images == 4)
        #expect(result.report.documents == ["train": documents] && documents > 100)
        // Who names the column of the texts wants texts.
        result = try build {
            $0.parquets = [directory.file("all/1.parquet")]
            $0.textKey = "text"
        }
        #expect(result.report.pairs == ["train": 0] && result.report.documents == ["train": 3])
    }

    @Test func rowsWithoutAPictureAreNamedAndTheRestIsTaken() throws {
        let path = try parquet("bad rows")
        let error = #expect(throws: BadInputError.self) { try build { $0.parquets = [path] } }
        for problem in [
            "row 2: has no picture", "row 3: has only the path of its picture (elsewhere.png); write",
            "row 4: is no PNG, JPEG, WebP or GIF", "row 6: cannot be read: ",
        ] {
            #expect(error?.lines.count { $0.hasPrefix("\(path), \(problem)") } == 1, "\(problem)")
        }
        #expect(error?.lines.count == 5)
        let result = try build {
            $0.parquets = [path]
            $0.skipBad = 4
        }
        #expect(try result.dataset.keys() == ["p.parquet/1"])
        #expect(result.report.picturesWithoutCaption == 1)
    }

    @Test func aFileThatEndsEarlyGivesItsFirstRows() throws {
        let path = try parquet("zstd 2.0")
        var bytes = try Files.read(path, limit: 1 << 20)
        // The head of the compressed block that has the third of four row groups' picture.
        let place = try #require(bytes.firstRange(of: Array("WEBPVP8".utf8))).lowerBound
        for index in place - 22..<place - 18 { bytes[index] = 0xFF }
        try Files.write(bytes, to: path)
        let error = #expect(throws: BadInputError.self) { try build { $0.parquets = [path] } }
        #expect(error?.lines.count == 2 && error?.lines[0].contains("column bytes: the data before") == true)
        let result = try build {
            $0.parquets = [path]
            $0.skipBad = 1
        }
        #expect(try result.dataset.keys() == ["sub/0.jpg", "1.jpeg"])
    }

    @Test func columnsOfPicturesAreFoundOrNamed() throws {
        let two = try parquet("two columns"), one = try parquet("none 1.0", as: "one.parquet")
        func problem(_ path: String, _ change: (inout DatasetImport) -> Void) -> String {
            do {
                _ = try build {
                    $0.parquets = [path]
                    change(&$0)
                }
                return ""
            } catch { return "\(error)" }
        }
        #expect(
            problem(two) { _ in }.contains("has several columns of pictures (image, target); name one with --image-key")
        )
        #expect(problem(two) { $0.imageKey = "target" } == "")
        #expect(
            problem(one) { $0.imageKey = "picture" }.contains("has no column picture; it has id, sizes, image, text"))
        #expect(problem(one) { $0.imageKey = "text" }.contains("column text: holds no pictures"))
        #expect(problem(one) { $0.captionKey = "label" }.contains("\"label\" is missing"))
        #expect(problem(one) { $0.captionKey = "id" }.contains("column id: holds no texts; name the captions with"))
    }
}
