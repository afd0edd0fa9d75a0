"""Columns that look like personal data, by their names and by their cells: `looks_like`.

A column is taken for personal data if most of its cells have an unmistakable form, such as that of
an e-mail address, or if its name says so and its cells do not contradict. Nothing is looked up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pushforward.data.tables.known_names import FAMILY_SIGNS, FAMILY_WORDS, NAMES, TITLES

SAMPLE = 1000  # Different texts of a column that are looked at, at most
LONGEST = 200  # Characters of a text that are looked at
FEW = 20  # A column of at most this many different values holds categories
OFTEN = 0.02  # Free texts are at least this fraction of the cells
MOST = 0.5  # The fraction of texts that have a form from which a column has it
UNIQUE = 0.9  # The fraction of cells that differ in a column of identifiers
KNOWN, HINTED = 0.15, 0.1  # The fraction of known names, also if the column's name hints at persons
GENERATION = 35  # Years that most dates of birth span at least
WORDS = 4  # Words of a free text
LETTERS = 5  # Letters that count as a word in scripts without blanks


@dataclass(frozen=True)
class Cells:
    """The cells of a column, as the rules see them.

    Args:
        texts: Different texts, in the order of the rows.
        different: The number of different texts.
        count: The number of cells that hold a value.
        kind: The kind of the column, as in `pushforward.data.tables.inference.KINDS`.
    """

    texts: Sequence[str]
    different: int
    count: int
    kind: str

    @property
    def several(self) -> bool:
        """Whether there are too many different texts for a few categories that repeat."""
        return self.different > min(FEW, self.count // 3)

    @property
    def unique(self) -> bool:
        return self.count > FEW // 2 and self.different >= UNIQUE * self.count

    def fraction(self, fits: Callable[[str], object]) -> float:
        return sum(map(bool, map(fits, self.texts))) / len(self.texts)

    def most(self, form: str) -> bool:
        return self.fraction(re.compile(form).fullmatch) > MOST


def plain(text: str) -> str:
    """Return a text in lower case and without accents."""
    letters = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", letters)


def _words(text: str) -> int:
    """Count the words of a text; one for each few letters of a script without blanks."""
    return len(text.split()) + len(re.findall(_SPACELESS, text)) // LETTERS


# Forms of cells ---------------------------------------------------------------------------------


_MAIL = r"[^@\s]+(@|\(at\)|\[at\])[^@\s]+\.[^\W\d_]{2,}>?|.+<[^@\s]+@[^@\s]+>"
_PHONE = (
    r"(?i)(?!97[89]|\d{1,4}([-./])\d{1,2}\1\d{1,4}$|\d+[.,]\d+$|\d+$)(?=(\D*\d){7,20}\D*$)"
    r"(?=\+|00|\(?0|\(\d{2,5}\)|1?[\s.-]?\(?[2-9]\d\d\)?[\s.-]\d{3}[\s.-]\d{4})"
    r"(\+|00)?[\s(]*\d[\d\s()/.\-–]{5,20}\d\s*((x|ext\.?|#)\s?\d{1,6})?"
)
_CARD = (
    r"(?=(\D*\d){13,19}\D*$)(2[2-7]|3[04-9]|4\d|5[0-8]|6\d)\d\d([ -]?)\d{4,6}\3\d{4,5}(\3\d{1,7})?|"
    r"(?=.*[*xX•])[*xX•\d]{2,6}([ -]?[*xX•\d]{2,6}){1,3}[ -]?\d{4}"
)
_IBAN = r"[A-Z]{2}\d{2}( ?[A-Z0-9]{2,4}){3,8}"
_YEAR = r"(?<!\d)(?:1[89]\d\d|20\d\d)(?!\d)"
_BORN = (
    r"(18[89]|19\d|20[0-3])\d|(1[89]|20)?\d{6}|"
    r".*\d{1,4}\D{1,3}(\d{1,2}|[^\W\d]{3,9})\D{1,3}\d{2,4}.*"
)
_STREET = (
    r"(?=.*\d)(?!(\S+\s+){15}).*(\b(st|street|ave?|avenue|rd|road|ln|lane|dr|drive|blvd|boulevard|court|ct|way|"
    r"square|terrace|close|crescent|"
    r"highway|hwy|parkway|pkwy|apt|suite|box|plaza|place|pl|platz|weg|ring|allee|rue|chemin|quai|"
    r"via|viale|vicolo|corso|piazza|"
    r"strada|calle|c/|avda?|avenida|paseo|rua|travessa|largo|ul|al|os|ulica|utca|ut|sok|sokak|"
    r"cad|cadde\w*|mah|mahallesi|jalan|"
    r"jl|straat|gade|vej|gata|vei|katu|tie)\b\.?|(str(asse|\.)?|gasse|weg|platz|allee|ring|damm|"
    r"ufer|steig|straat|laan|gracht|"
    r"gatan|vagen|gade|vej|katu|gata|veien)\.? ?\d+|ул\.|улица|пр-т|просп|пер\.|дом|д\.|οδος|"
    r"शारग|मार्ग|路|街|号|號|丁目|番地|"
    r"[市区區町村]|로 ?\d|길 ?\d|شارع|רחוב)"
)
_HOUSE = r"(?i)[^\W\d]\S*( \S*){0,3}\D,? \d{1,4}(-\d+)?\s?[a-z]?|\d{1,5}[a-z]?,? [^\W\d]\S*( \S+){0,3}"
_IDENTITY = (
    r"\d{3}-\d{2}-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|[A-Z]{2} ?(\d\d ?){3}[A-Z]|\d{6}-[1-4]\d{6}|"
    r"\d(-\d+){4}|[XYZ]?\d{7,8}-?[A-Z]|[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]|"
    r"(19|20)?\d{6}[-+A]\d{3}[\dA-Z]|[A-Z]{4}\d{6}[HM][A-Z]{5}\w\d|[1-9]\d{5}(19|20)\d{9}[\dXx]|"
    r"[\da-fA-F]{8}(-[\da-fA-F]{4}){3}-[\da-fA-F]{12}|[\da-fA-F]{32,}|\d{1,3}(\.\d{1,3}){3}|"
    r"([\da-fA-F]{2}[:-]){5}[\da-fA-F]{2}|"
    r"([\da-f]{1,4}:){3,7}:?[\da-f]{0,4}"
)
_TOKEN = (
    r"(?!#|[<>~]?[-+]?[\d.,:]+\s?[^\W\d_]{1,4}([/²³]\w*)?$|\d+(st|nd|rd|th)$|[a-zA-Z]{0,3}[-+]?\d+[.,]\d+$)"
    r"((?=(.*\d){3})(?=.*[^\W\d_])[\w./:-]{5,40}|"
    r"(?=.*\d\D*\d)(?=.*[A-ZÄÖÜА-Я])[A-ZÄÖÜА-Я\d]{1,5}([ -][A-ZÄÖÜА-Я\d]{1,6}){1,3})"
)
_LONG_NUMBER = r"(?!1\d{9}(\d{3})?$)(0\d{6,}|\d{9,19})"  # no seconds since 1970
_DECIMAL = r"-?\d*[.,]\d+"
_SPACELESS = r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]"
_PERSON = r"[^\d_@#/\\:;!?=+*<>{}%&$€£|~^]{2,60}"
_NO_PERSON = (
    r"(\S+\s+){5}\S|.*[\d_@#/\\:;!?=+*<>{}%$€£|~^]|.*(\b(inc|ltd|limited|llc|llp|plc|corp|corporation|company|co|group|holding|gmbh|mbh|kgaa|"
    r"kg|ag|ohg|gbr|e\.? ?v|e\.? ?g|sarl|sas|"
    r"sa|sl|srl|spa|bv|nv|oy|ab|asa|aps|et fils|e figli|and sons|ооо|оао|зао|ао|ип|нпо|рао|лтд|"
    r"групп)\b| (and|und|et|y|e|и) |&|[a-z]{2,}\.[a-z]{2,}|"
    r"有限公司|株式会社|(주)|주식회사)|(north|east|south|west|new|lake|port|fort|san|santa|saint|sainte|st|"
    r"bad|mount|los|las|el)\b.*|"
    r"[\u3040-\uffff ]+[市县縣省区區県町村州国國시군구도읍면]"
)


# Rules ------------------------------------------------------------------------------------------


def _known(text: str) -> bool:
    """Whether a text has a title, or a frequent name of persons or one of its forms."""
    words = re.split(r"[\s,.'’()-]+", plain(text))
    named = any(word in NAMES or FAMILY_WORDS.fullmatch(word) for word in words)
    return bool(named or TITLES.match(text) or FAMILY_SIGNS.fullmatch(text))


def _are_names(cells: Cells) -> bool:
    others = cells.fraction(lambda text: re.match(_NO_PERSON, plain(text)))
    return cells.several and others < KNOWN < cells.fraction(_known)


def _are_addresses(cells: Cells) -> bool:
    """Whether texts name a street, or are of different words with house numbers."""
    if cells.fraction(lambda text: re.match(_STREET, plain(text))) > MOST:
        return cells.several
    ways = {re.sub(r"\d", "", text) for text in cells.texts if re.fullmatch(_HOUSE, text)}
    return cells.several and len(ways) > MOST * len(cells.texts)


def _are_births(cells: Cells) -> bool:
    """Whether dates without a time of day span generations, in no order."""
    years = [int(year) for year in re.findall(_YEAR, " ".join(cells.texts))]
    if cells.kind != "date" or ":" in cells.texts[0] or not years:
        return False
    first, last = np.quantile(years, (0.1, 0.9))
    return last - first >= GENERATION and not np.all(np.diff(years) >= 0)


def _are_identifiers(cells: Cells) -> bool:
    if cells.several and cells.most(_IDENTITY):
        return True
    if cells.count > FEW // 2 and cells.different > MOST * cells.count and cells.most(_TOKEN):
        return True
    lengths = {len(text) for text in cells.texts}
    return cells.unique and len(lengths) <= 2 and cells.most(_LONG_NUMBER)


def _are_free(cells: Cells) -> bool:
    long = cells.fraction(lambda text: _words(text) >= WORDS)
    return cells.several and long > MOST and cells.different > OFTEN * cells.count


@dataclass(frozen=True)
class Rule:
    """A kind of personal data.

    Args:
        what: The kind in words.
        certain: Whether cells are of this kind, whatever the column is called.
        named: A pattern of words of column names, in lower case and with blanks in between.
        likely: A pattern of the cells of a column with such a name.
        also: A further test of a column with such a name.
    """

    what: str
    certain: Callable[[Cells], bool]
    named: str
    likely: str
    also: Callable[[Cells], bool] = lambda cells: cells.several

    def fits(self, name: str, cells: Cells) -> bool:
        if self.certain(cells):
            return True
        words = self.named.replace("PEOPLE", _PEOPLE).replace("NUMBER", _NUMBER)
        called = re.search(rf"\b({words})\b", name) and not re.search(_NOT_PERSONAL, name)
        return bool(called) and self.also(cells) and cells.most(self.likely)


def _form(form: str) -> Callable[[Cells], bool]:
    return lambda cells: cells.several and cells.most(form)


def _never(cells: Cells) -> bool:
    return False


# What is counted or described of somebody, and is not his name, number or address
_NOT_PERSONAL = (
    r"\b(balances?|amounts?|counts?|types?|status|flags?|len|lengths?|brands?|models?|plans?|"
    r"services?|providers?|verified|valid|"
    r"opt|optin|sent|opened|clicks?|rates?|weights?|order|age|tenure|limits?|days?|months?|score|"
    r"saldo|betrag|art|anzahl|alter|"
    r"gewicht|country|land|nation\w*|state|region|products?|compan(y|ies)|firma|files?|events?|"
    r"species|teams?|total|sum|avg|mean)\b"
)
_PEOPLE = (
    "customer|client|user|patient|person|people|employee|staff|member|student|pupil|subject|"
    "contact|owner|holder|card ?holder|"
    "account ?holder|passenger|guest|tenant|driver|parent|mother|father|spouse|child|partner|"
    "doctor|physician|teacher|agent|"
    "manager|author|seller|buyer|sender|recipient|recipients|applicant|candidate|beneficiary|"
    "insured|donor|voter|citizen|"
    "kunden?|patient(en|in)?|personen?|mitarbeiter\\w*|mitglied\\w*|nutzer|benutzer|inhaber|"
    "kontoinhaber|mieter|fahrer|"
    "schuler|studenten?|teilnehmer|lehrer|arzt|ansprechpartner|sachbearbeiter|empfanger|absender|"
    "versicherte?[nr]?|bewerber|"
    "autor|vermieter|eigentumer|halter|client[ei]?|empleado|paciente|usuario|dipendente|paziente|"
    "utente|klant|pracownik"
)
_NUMBER = "id|ids|no|nr|num|number|numbers|nummer|nummern|key|uuid|guid|kennung|code|ref|reference"
_ANY = r"(?s).*"
RULES = (
    Rule(
        "e-mail addresses",
        _form(_MAIL),
        "e ?mail|mail",
        _MAIL,
    ),
    Rule(
        "account numbers",
        _form(_IBAN),
        (
            r"iban|bban|account|acct|(bank|giro|spar)?konto(nr|nummer|no)?|bankverbindung|kto( "
            r"?nr)?|routing|blz|bankleitzahl|"
            r"cuenta|compte|conto|rekening(nummer)?|rachunek|conta|hesap|счет|расчетный|银行账号|账号|"
            r"口座番号|계좌번호"
        ),
        r"[A-Z]{0,2}\d[\d\s./-]{4,32}[\dxX]|[*xX•]+ ?\d{3,}",
    ),
    Rule(
        "card numbers",
        _form(_CARD),
        (
            r"(credit|debit|bank)? ?cards?|kredit ?karten?\w*|karten? ?(nr|nummer)|cc|ccn|pan|"
            r"tarjeta|carte|carta|cartao"
        ),
        r"[\d*xX•][\d*xX• -]{10,22}",
    ),
    Rule(
        "telephone numbers",
        _form(_PHONE),
        (
            r"\w*phones?|tele?|cell|mobile?|mobil(funk)?(nummer|nr)?|handy\w*|tele?fon\w*|"
            r"telephon\w*|fax\w*|ruf ?nummer|msisdn|"
            r"whatsapp|celular|portable|cellulare|gsm|телефон|电话|手机|電話|電話番号|携帯|전화|전화번호|휴대폰|هاتف|"
            r"טלפון|τηλεφωνο"
        ),
        r"(?i)[+(\d][\d\s()/.+–-]{5,24}((x|ext\.?)\s?\d+)?",
    ),
    Rule(
        "addresses",
        _are_addresses,
        (
            r"(?<!ip )(?<!mac )(?<!mail )(?<!web )addr(ess\w*)?|adress[ae]?n?|anschrift|\w*anschrift|\w*adresse|streets?|"
            r"\w*strasse|^str$|haus ?(nr|nummer)|"
            r"house ?(no|nr|number)|zip|zip ?codes?|post(al)? ?codes?|postleitzahl|plz|wohnort|"
            r"geburtsort|birth ?place|"
            r"place of birth|birth (city|town)|home ?town|direccion|domicilio|calle|codigo "
            r"postal|indirizzo|adres|ulica|rue|"
            r"code postal|endereco|cep|postnummer|kod pocztowy|адрес|улица|индекс|地址|住所|住址|邮编|"
            r"郵便番号|주소|우편번호|عنوان|כתובת"
        ),
        r"(?s)[^\W\d].{2,}|\d[\d/-]*\s?[a-zA-Z]?([\s,].*)?|[\dA-Z -]{3,10}",
    ),
    Rule(
        "dates of birth",
        _are_births,
        (
            r"birth|birthda(y|te)|birthyear|dob|yob|born|geburt(s?(tag|datum|jahr)?)|geb|geb "
            r"?dat\w*|geboren|naissance|nacimiento|"
            r"nascita|nascimento|geboorte\w*|fodt|fodsel\w*|fodelse\w*|syntym\w*|urodz\w*|"
            r"narozeni|dogum|рождения|出生|出生日期|"
            r"生年月日|生日|생년월일|생일"
        ),
        _BORN,
    ),
    Rule(
        "names",
        _are_names,
        (
            r"(first|last|sur|family|given|middle|maiden|full|fore|legal|real|preferred|"
            r"christian) ?names?|[flm]name|"
            r"(PEOPLE) ?(first|last|full|sur)? ?names?|names? of (the )?(PEOPLE)|"
            r"\w*vornamen?|\w*nachnamen?|zunamen?|familiennamen?|geburtsnamen?|rufnamen?|(kunden|"
            r"patienten|mitarbeiter)namen?|"
            r"prenoms?|nom de famille|nombres?|apellidos?|nome|cognome|sobrenome|imie|nazwisko|"
            r"(voor|achter)naam|"
            r"(for|efter|etter)na(mn|vn)|jmeno|prijmeni|keresztnev|vezeteknev|soyad|имя|фамилия|"
            r"отчество|фио|姓名|姓|名字|"
            r"氏名|名前|이름|성명|성함|اسم|الاسم|שם|ονομα|επωνυμο|नाम"
        ),
        _PERSON,
    ),
    Rule(
        "names",
        _never,
        "names?|naam|nev|ad|nom|nazwa|" + _PEOPLE,
        _PERSON,
        lambda cells: cells.fraction(_known) > HINTED and cells.several,
    ),
    Rule(
        "identifiers",
        _are_identifiers,
        (
            r"ssn|social security( \w+)?|nino|national insurance|\w*versicherungs ?(nr|nummer)|"
            r"sv ?n(umme)?r|steuer ?(id|nr|nummer)\w*|"
            r"steuer identifikationsnummer|tax ?(id|no|number|payer)( \w+)?|passport( \w+)?|"
            r"passnummer|reisepass\w*|\w*ausweis\w*|"
            r"national id|person(al)? ?(id|no|number|nummer|nr)|personnummer|identity( \w+)?|"
            r"nhs( \w+)?|mrn|medical record( \w+)?|"
            r"(PEOPLE|account|policy|insurance|device|session|cookie|driv\w+ licen[cs]e|"
            r"police|matrikel|vertrags?|login|"
            r"loyalty|membership|case|akten|fall) ?(NUMBER)|(kunden|patienten|mitglieds|"
            r"personal|matrikel|vertrags|policen|"
            r"versicherten|benutzer|nutzer|mitarbeiter|fall)(nr|nummer|id|kennung)|akten "
            r"?zeichen|imei|imsi|ip|ip addr\w*|"
            r"mac addr\w*|vin|fahrgestell\w*|kennzeichen|licen[cs]e plate|number plate|plate|"
            r"user ?names?|login|nick ?names?|"
            r"screen name|benutzernamen?|twitter|instagram|handle|dni|nif|nie|cpf|cnpj|curp|"
            r"pesel|bsn|codice fiscale|hkid|aadhaar|"
            r"инн|снилс|паспорт|身份证|身份证号|マイナンバー|주민등록번호"
        ),
        r"(?s)(?!-?\d*[.,]\d+$)(\d+|.{3,})",
    ),
    Rule(
        "identifiers",
        _never,
        "id|uuid|guid",
        _ANY,
        lambda cells: cells.unique,
    ),
    Rule(
        "free text",
        _are_free,
        (
            r"comments?|notes?|remarks?|descriptions?|feedback|reviews?|messages?|texts?|"
            r"\w*freitext|bemerkung(en)?|kommentare?|"
            r"notiz(en)?|anmerkung(en)?|beschreibung(en)?|hinweise?|nachricht(en)?|"
            r"observacion(es)?|comentarios?|commentaires?|"
            r"opmerking(en)?|anamnes[ei]s?|complaints?|beschwerden?|комментари[ий]|примечание|备注|"
            r"備考|비고"
        ),
        r"(?s).*\S[\s,;].*\S.*|.*[\u3040-\u9fff]{5}.*",
    ),
)


def looks_like(name: str, texts: Sequence[str], count: int, kind: str) -> str:
    """Say what personal data a column looks like.

    Args:
        name: The name of the column.
        texts: Its different texts, in the order of the rows, without those of missing values.
        count: The number of its cells that hold a value.
        kind: Its kind, as in `pushforward.data.tables.inference.KINDS`.

    Returns:
        The kind of personal data, such as "e-mail addresses"; an empty text for other columns.
    """
    sample = [text[:LONGEST].removesuffix(".0") for text in texts[:: len(texts) // SAMPLE + 1]]
    if not sample or kind == "boolean" or any(re.fullmatch(_DECIMAL, text) for text in sample):
        return ""
    parts = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=[a-zà-ÿ\d])(?=[A-Z])", " ", name)
    words = " ".join(re.findall(r"[^\W_]+", plain(parts)))
    cells = Cells(sample, len(texts), count, kind)
    return next((rule.what for rule in RULES if rule.fits(words, cells)), "")
