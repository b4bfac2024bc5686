import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// The gallery, of made-up folders in the form of the packages.
@Suite struct GalleryTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func write(_ text: String, to name: String) throws {
        let file = directory.file(name)
        try FileManager.default.createDirectory(
            atPath: String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)]), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: file))
    }

    /// A picture of two colours, twice as wide as high.
    private func paint(_ name: String, _ colour: UInt8, isBlank: Bool = false) throws {
        try write("", to: name)
        let rgb = (0..<16 * 8 * 3).map { isBlank || $0 % 48 < 24 ? colour : 255 - colour }
        try Data(PNG.encode(rgb: rgb, width: 16, height: 8)).write(to: URL(filePath: directory.file(name)))
    }

    private func draw(_ name: String, title: String, description: String = "", keywords: [String] = []) throws {
        try write(
            """
            <svg><metadata><rdf:RDF><cc:Work><dc:title>\(title)</dc:title><dc:description>\(description)</dc:description>
            <dc:subject><rdf:Bag>\(keywords.map { "<rdf:li>\($0)</rdf:li>" }.joined())</rdf:Bag></dc:subject>
            <dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
            </cc:Work></rdf:RDF></metadata></svg>
            """, to: "clipart/svg/\(name).svg")
    }

    /// - Returns: The settings that read the folders.
    private func makeFolders() throws -> GalleryDataset {
        for index in 0..<60 {
            try paint("stamps/food/fruit/fruit\(index).png", UInt8(index))
            try write("A bunch of \(index) grapes.\nde.utf8=Trauben\n", to: "stamps/food/fruit/fruit\(index).txt")
        }
        try paint("stamps/silent.png", 9)
        try paint("stamps/blank.png", 9, isBlank: true)
        try write("Nothing.\n", to: "stamps/blank.txt")
        try write("no picture", to: "stamps/broken.png")
        try write("A broken one.", to: "stamps/broken.txt")
        // A copy of a stamp's picture.
        for (name, colour) in [("animals/bat", 5), ("computer/icons/icon", 100), ("tools/nameless", 101)]
            as [(String, UInt8)]
        {
            try paint("clipart/png/\(name).png", colour)
        }
        try draw("animals/bat", title: "bat", keywords: ["mammal", "bat", "", "hash(0x1)", "animal"])
        try draw("computer/icons/icon", title: "an icon of a program")
        try draw("tools/nameless", title: "", description: "who@example.org")
        for (name, count) in [("data.noun", 150), ("data.verb", 1), ("data.adj", 1), ("data.adv", 1)] {
            let lines = (0..<count).map { "0000\($0) 03 n 01 thing\($0) 0 000 | something that is number \($0)  \n" }
            try write("  1 the licence\n" + lines.joined(), to: "wordnet/\(name)")
        }
        try write("A saying\nof two lines.\n%\nAnother one here.\n%\n", to: "fortunes/people")
        var settings = GalleryDataset()
        settings.size = 8
        settings.pieces = 300
        settings.stampsDirectory = directory.file("stamps")
        settings.clipArtDirectory = directory.file("clipart")
        settings.wordNetDirectory = directory.file("wordnet")
        settings.fortunesDirectory = directory.file("fortunes")
        return settings
    }

    @Test func theFoldersBecomeADataSet() throws {
        var settings = try makeFolders()
        let report = try settings.build(at: directory.file("set"))
        #expect(report.pairs.values.reduce(0, +) == 61 && report.documents.values.reduce(0, +) == 155)
        #expect(Set(report.pairs.keys) == ["train", "validation", "test"])
        #expect(report.blank == 1 && report.withoutCaption == 2)
        #expect(report.unreadable.count == 1 && report.unreadable[0].contains("broken.png"))
        let dataset = try PackedDataset(directory.file("set"))
        #expect(PackedDataset.verify(dataset.path).isEmpty)
        let keys = try dataset.keys()
        let bat = try #require(keys.firstIndex(of: "openclipart/animals/bat.png"))
        #expect(try dataset.captionText(dataset.pair(bat)) == "bat, mammal, animal")
        // A copy is in the split of its original.
        let original = try #require(keys.firstIndex(of: "stamps/food/fruit/fruit5.png"))
        let splits = dataset.manifest.splits
        #expect(
            splits.firstIndex { $0.pairRange.contains(bat) } == splits.firstIndex { $0.pairRange.contains(original) })
        #expect(try dataset.captionText(dataset.pair(original)) == "A bunch of 5 grapes.")
        // On white, as it is wider than high.
        let image = try dataset.image(dataset.pair(original).image)
        #expect(image[0] == 1 && image[8 * 4] != 1)
        #expect(FileManager.default.fileExists(atPath: dataset.path + "/sheet.png"))

        // Another size has the same splits.
        settings.size = 16
        let larger = try settings.build(at: directory.file("larger"))
        #expect(larger.pairs == report.pairs)
    }

    @Test(
        arguments: [
            (.init(title: "bat", keywords: ["mammal", "bat"]), "bat, mammal"),
            (.init(title: "Soccer Ball", keywords: ["sports"]), "Soccer Ball"),
            (
                .init(title: "pen", description: "A pen that lies on a desk. It is blue.", keywords: ["x"]),
                "A pen that lies on a desk"
            ),
            (.init(title: "Common", keywords: ["one", "two", "six", "ten"]), "Common, one, two, six"),
            (.init(title: "Hot Dog", description: "Hot Dog"), "Hot Dog"), (.init(keywords: ["gas pump"]), "gas pump"),
            (.init(), nil),
        ] as [(ClipArt.Description, String?)])
    func captionsSayWhatIsKnown(_ found: ClipArt.Description, _ caption: String?) {
        #expect(ClipArt.caption(found) { $0 == "Common" } == caption)
    }

    @Test func drawingsAreReadAndCleaned() throws {
        try draw(
            "a", title: "Clipart by Nicu Buculei - tall_tree 04", description: "Tom &amp; the\n  tree",
            keywords: ["plant_life", "0x8f45c80", "unsorted", "12"])
        let found = ClipArt.Description(drawing: try Files.read(directory.file("clipart/svg/a.svg"), limit: 1 << 20))
        #expect(found == .init(title: "tall tree", description: "Tom & the tree", keywords: ["plant life"]))
        #expect(ClipArt.Description(drawing: Array("<svg/>".utf8)) == .init())
        #expect(ClipArt.Description(drawing: Array("<metadata><dc:title>x".utf8)) == .init())
    }

    @Test func whatIsMissingIsNamedWithItsPackage() throws {
        let whole = try makeFolders()
        func problem(_ change: (inout GalleryDataset) -> Void) -> String {
            var settings = whole
            change(&settings)
            do throws(DataError) {
                _ = try settings.build(at: directory.file("none"))
                return "nothing was refused"
            } catch {
                return error.description
            }
        }
        #expect(problem { $0.stampsDirectory = "/nowhere" }.contains("install the package tuxpaint-stamps-default"))
        #expect(problem { $0.clipArtDirectory = "/nowhere" }.contains("install the package openclipart-png"))
        #expect(problem { $0.wordNetDirectory = "/nowhere" }.contains("install the package wordnet-base"))
        #expect(problem { $0.size = 4 }.hasPrefix("--size: 4"))
        #expect(!FileManager.default.fileExists(atPath: directory.file("none")))
    }
}
