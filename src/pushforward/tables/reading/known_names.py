"""Frequent names of persons in many countries, by which names are told from other words."""

from __future__ import annotations

import re

# In lower case and without accents
_FREQUENT = """
james robert john michael david william richard joseph thomas charles christopher daniel matthew
anthony donald steven paul andrew joshua kenneth kevin brian george timothy ronald edward jason
ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory
alexander patrick raymond jack dennis jerry tyler aaron jose adam nathan henry douglas zachary
peter kyle noah jeremy walter christian keith roger terry sean gerald carl harold dylan arthur
lawrence jesse billy bruce gabriel joe logan alan juan albert willie wayne randy vincent mason roy
ralph bobby russell bradley philip eugene liam oliver lucas leo ian colin craig stuart graham neil
simon martin oscar harry charlie theodore isaac owen connor cody derek dustin todd troy travis
shane jared marcus mary patricia jennifer linda elizabeth barbara susan jessica karen sarah lisa
nancy sandra ashley emily kimberly margaret donna michelle carol amanda melissa stephanie rebecca
sharon laura amy kathleen angela shirley emma pamela nicole anna samantha christine debra rachel
janet maria olivia heather helen diane julie joyce lauren kelly joan andrea megan cheryl abigail
sophia martha sara janice ann judy julia alice jean denise danielle marilyn beverly diana brittany
theresa alexis doris lori tiffany chloe fiona kate jane anne ellen erin courtney allison vanessa
tracy tina dana wendy hans klaus jurgen dieter uwe rainer werner stefan andreas sebastian tobias
florian markus holger lars dirk harald norbert karl heinz otto kurt ernst wilhelm hermann max
moritz felix jonas leon luis finn elias emil anton jakob johann johannes georg fabian dominik
marcel rene mario marco monika petra helga ingrid erika gabriele birgit anja martina cornelia
johanna marie sophie clara luise elisabeth franziska jana sonja melanie nina daniela bettina gerda
annette regina pierre philippe nicolas bernard pascal thierry julien antoine francois jacques henri
louis etienne thibault nathalie sylvie sandrine dominique manon ines margot lucie helene laetitia
antonio manuel francisco javier carlos jesus miguel pedro jorge alberto pablo raul enrique ramon
vicente fernando rafael sergio andres joaquin eduardo roberto ana marta paula elena cristina
concepcion silvia sofia valentina adriana giuseppe giovanni vincenzo bruno lorenzo luca elisa rosa
joao jan krzysztof marcin marek grzegorz ryszard jozef krystyna aleksandra karolina natalia jakub
pavel tomas lukas hana eva istvan laszlo zoltan gabor attila zsuzsanna ilona katalin agnes andrei
lotte erik anders johan per nils gunnar magnus mette karin birgitta astrid matti juhani tapani
helena olavi anneli kaarina mehmet mustafa ali ibrahim osman murat emine elif mohammed muhammad
mohamed ahmed omar hassan hussein karim fatima noor rahul amit arjun priya anita aarav aditya diya
wei ming jing hiroshi takashi kenji yuki sakura nguyen tran tatiana irina svetlana marina sergei
aleksandr vladimir ivan igor nikolai boris viktor kwame emeka adebayo smith johnson williams jones
garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson anderson taylor moore
thompson harris sanchez clark ramirez lewis robinson walker allen wright torres adams nelson baker
mitchell carter roberts gomez phillips evans turner diaz parker edwards collins stewart morris
morales murphy rogers gutierrez morgan cooper peterson bailey howard ramos kim cox richardson
watson brooks chavez bennett ruiz hughes alvarez castillo sanders patel myers ross foster hamilton
sullivan wallace cole simpson murray tucker burns crawford henderson gordon palmer butler barnes
fisher hunter hayes dixon marshall mcdonald kennedy muller schmidt schneider fischer weber meyer
wagner becker schulz hoffmann schafer koch bauer schroder braun krause meier kohler herrmann huber
peters lang weiss schubert gunther winkler roth beck schuster ludwig kraus heinrich brandt haas
schreiber graf ziegler sauer steiner moser dubois durand fournier fontaine rousseau clement gautier
fernandez perez alonso serrano molina castro delgado ortega rubio sanz iglesias medina russo
esposito bianchi ricci marino conti rizzo lombardi barbieri santoro rinaldi silva oliveira souza
pereira ferreira almeida carvalho ribeiro kowalski novak svoboda dvorak nagy kovacs toth szabo
horvath popescu ionescu jansen bakker smit meijer mulder janssen peeters andersson johansson
karlsson nilsson eriksson larsson olsson persson hansen olsen larsen andersen pedersen nielsen
jensen christensen rasmussen korhonen virtanen makinen nieminen yilmaz demir ozturk arslan singh
sharma verma iyer reddy nair das wang zhang chen liu zhou lin tanaka suzuki sato watanabe yamamoto
vu okafor mensah сергеи андреи михаил мария ольга екатерина татьяна ирина юрии виктор людмила
галина марина олександр оксана γιωργοσ δημητρησ νικολαοσ κωστασ ιωαννησ μαρια αικατερινη βασιλησ
αννα محمد علي حسن حسين محمود عمر عبد عبدالله يوسف سعيد مريم زينب משה יוסף דוד יעקב אברהם שרה רחל
חנה אסתר נועה תמר כהן לוי מזרחי פרץ ביטון דהן פרידמן יצחק דניאל राम राहुल अनिल सुनील संजय राजेश
कुमार सिंह देवी यादव पटेल खान जैन चौधरी झा अमित नेहा रवि विजय رضا جعفر عباس نرگس مهدی احمدی محمدی
سمير طارق busra korkmaz erdogan aslan gul bui duong duc δημητρα ευαγγελοσ νικολαου αναστασια богдан
володимир олег антон максим роман юлия ксения полина алина надежда любовь wijaya setiawan pratama
saputra hidayat lestari wahyuni rahayu timo pekka leena lahtinen koskinen heikkinen jarvinen laine
alexandru ionut marian popa dumitrescu chatterjee chopra kapoor malhotra menon naidu hugo gaetano
gianni filippo mirko victor gustavo emilio marcos lena lea mia isabel carmen camille chantal claire
irene ricardo eduarda moreau lefebvre leroy petit bonnet girard gauthier yamada ito kobayashi
nakamura haruto yoko gupta agarwal mehta deepak sunita anjali pooja vikram rajesh sanjay suresh
amina layla aisha khadija youssef salma tariq chukwu ngozi chidi kofi mwangi wanjiru otieno dlamini
nkosi minh linh huong pham hoang phan wong chan cheung zhao huang xiao yang jun agnieszka
malgorzata katarzyna piotr pawel tomasz wojciech anastasia natasha dmitri sergey giulia chiara
francesca alessandro matteo ingeborg sven torsten ayse fatma zeynep hatice ahmet yusuf budi dewi
siti putri agus dimitris kostas eleni yannis иван анна елена наталья дмитрии александр алексеи
владимир иванов петров אבי moreno jimenez romero navarro dominguez vazquez gil suarez herrera
aguilar vargas mendoza guzman reyes ortiz salazar soto ferrari romano colombo greco gallo costa
mancini giordano fontana caruso galli leone longo massimo simone davide federica alessia kruger
lehmann konig kaiser fuchs scholz moller hahn vogel keller berger wojcik kaminski lewandowski
dupont lambert roux fabre isabelle monique celik kaya sahin yildiz bengtsson lindberg alves gomes
martins barbosa rocha rekha kavita shreya mori okada ling hui feng abdullah jamal zahra nasser
okonkwo adeyemi achieng njoroge
"""
NAMES = frozenset(_FREQUENT.split())
# Endings of family names and patronymics
ENDINGS = re.compile(
    r"\w{3,}(mann|me[iy]e?r|ma[iy]e?r|huber|hofer|[nrs]sen|sson|ovic|evic|enko|czyk|wicz|"
    r"[wn]sk[iay]|vsky|oglu|poulos|poulou|idis|akis|shvili|etti|ucci|ielli|[oe]va?|quist|"
    r"moto|guchi)|(mc|mac|o')[a-z]{4,}|"
    r"\w{2,}([ое]ва?|енко|чук|вич|вна|οπουλος|οπουλου|ιδης|ακης)"
)
_CHINESE = (
    "王李张張刘劉陈陳杨楊黄黃赵趙吴吳周徐孙孫马馬朱胡郭何高林郑鄭谢謝罗羅梁宋唐许許韩韓冯馮邓鄧曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔"
    "钟谭陆汪范廖贾夏韦付方邹孟熊秦邱尹薛闫段雷侯史陶黎贺顾毛郝龚邵万钱严戴莫孔向汤"
)
_JAPANESE = (
    "佐藤|鈴木|高橋|田中|伊藤|渡辺|渡邊|山本|中村|小林|加藤|吉田|山田|佐々木|山口|松本|井上|木村|斎藤|齋藤|清水|山崎|阿部|池田|橋本|石川|山下|中島|"
    "石井|小川|前田|岡田|長谷川|藤田|後藤|近藤|村上|遠藤|青木|坂本|斉藤|福田|太田|西村|藤井|金子|岡本|藤原|中野|三浦|原田|中川|松田|竹内|小野|田村"
)
_KOREAN = "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구나민진지엄"
# Titles; and names in scripts without blanks, which begin with a frequent family name
FORMS = re.compile(
    r"(?i)(.*,\s*)?(mr|mrs|ms|miss|dr|prof|herrn?|frau|mme|mlle|monsieur|madame|sra?|don|sig|dott|"
    r"sir|lady|pani?|г-н|г-жа|السيدة?|الأستاذة?)\b\.?\s+\S|(นาย|นาง|นางสาว|น\.ส\.)|"
    rf"([{_CHINESE}][\u4e00-\u9fff]{{1,2}}|({_JAPANESE})[\s\u3000]?[\u3040-\u9fff]{{1,4}}|"
    rf"[{_KOREAN}][가-힣]{{2}})$"
)
